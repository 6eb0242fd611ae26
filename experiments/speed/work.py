"""A piece of work that is timed, and how its memory is measured."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A piece of work that all peers do."""

    suite: str
    cell: str
    kind: str  # train, forward or stream; in the suite generation greedy or sample; beam, update
    batch: int
    steps: int
    input_size: int
    hidden_size: int
    layers: int


class Work(NamedTuple):
    """A case that is ready to run."""

    call: Callable[[], Any]  # computes the results, waits for them and returns them
    memory: Callable[[], dict[str, int | None]]  # the memory it took, once some calls are made


class Unsupported(Exception):
    """The peer has no such layer, or cannot run this shape."""


def pick(case: Case, lstm: Any, gru: Any, rnn: Any = None) -> Any:
    """The library's class for the case's cell."""
    kind = {"lstm": lstm, "gru": gru, "rnn": rnn}.get(case.cell)
    if kind is None:
        raise Unsupported(f"no {case.cell}")
    return kind


def temp_bytes(function: Any, *inputs: Any) -> dict[str, int | None]:
    """The bytes that the compiled function allocates beside its inputs and outputs."""
    analysis = function.lower(*inputs).compile().memory_analysis()
    return {"temp_bytes": analysis.temp_size_in_bytes if analysis else None}


def rss_increase() -> Callable[[], dict[str, int | None]]:
    """A function that says how far the process's memory has risen above its present size."""

    def read(name: str) -> int:
        words = Path("/proc/self/status").read_text().split()
        return 1024 * int(words[words.index(name) + 1])

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        start = read("VmRSS:")
    except OSError:
        return lambda: {"peak_rss_increase_bytes": None}
    return lambda: {"peak_rss_increase_bytes": read("VmHWM:") - start}


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
