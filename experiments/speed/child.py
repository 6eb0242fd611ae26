"""A peer's process: it waits for requests, and answers with times."""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from experiments.speed.peers import build
from experiments.speed.work import Case, Unsupported, Work
from seqjax.devices.memory import reuse_freed_memory


def serve(peer: str, *, reuse_memory: bool = False) -> None:
    """A peer's process: reads a JSON request from each line of stdin, and writes a JSON reply.

    `["prepare", case]` compiles and warms up; `["burst", seconds]` returns the times of calls;
    `["start", case]` makes one call and no more; `["peak", null]` returns the most memory so far.
    """
    if reuse_memory:
        reuse_freed_memory()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to the log
    work = Work(tuple, dict)
    for line in sys.stdin:
        request, argument = json.loads(line)
        reply: dict[str, Any] = {}
        try:
            if request == "prepare":
                compile_seconds = []
                for _ in range(2):  # the first time includes what is loaded late
                    work = Work(tuple, dict)  # frees the last case
                    if "jax" in sys.modules:
                        sys.modules["jax"].clear_caches()
                    work = build(peer, Case(*argument))
                    first, *typical = time_calls(work.call, 3)
                    compile_seconds.append(max(0.0, first - min(typical)))
                reply = {"compile_seconds": min(compile_seconds), **work.memory()}
            elif request == "start":
                work = build(peer, Case(*argument))
                work.call()
            elif request == "peak":
                most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                reply = {"peak_rss_bytes": most * (1 if sys.platform == "darwin" else 1024)}
            else:
                work.call()  # not timed: other processes have filled the caches
                reply = {"times": time_calls(work.call, 2, argument)}
        except Unsupported as reason:
            reply = {"skipped": str(reason)}
        except Exception as error:
            traceback.print_exc()
            reply = {"skipped": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


def time_calls(call: Callable[[], Any], at_least: int, seconds: float = 0.0) -> list[float]:
    """The seconds of each call, of which there are `at_least` or as many as `seconds` hold."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times
