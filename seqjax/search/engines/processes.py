"""The engine of one machine: as many processes as there are cores, each on a core of its own."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

import jax

from seqjax.errors import check_positive, one_line
from seqjax.search.engines.records import TRIES, Engine, Record, Result, versions_here

TICK_SECONDS = 0.5
Job = tuple[str, Record, int]  # a name, its record, and how often it was begun


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def local(workers: int = 0) -> Engine:
    """An engine of `workers` processes; 0: one for each core.

    A process that dies, by the system for want of memory say, is replaced, and its record is begun again,
    three times at most.
    """
    count = check_positive("workers", workers or len(cores()), at_most=1024)

    def run(function: str, records: Mapping[str, Record]) -> Generator[tuple[str, Result] | None]:
        jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        results: queue.SimpleQueue[tuple[str, Result]] = queue.SimpleQueue()
        for name, record in records.items():
            jobs.put((name, record, 1))
        threads = [_Worker(function, i, count, jobs, results) for i in range(count)]
        try:
            for thread in threads:
                thread.start()
            left = len(records)
            while left:
                try:
                    yield results.get(timeout=TICK_SECONDS)
                    left -= 1
                except queue.Empty:
                    yield None
        finally:  # also where nobody asks for more: what is in hand is lost
            for thread in threads:
                thread.end()
            for thread in threads:
                if thread.ident is not None:  # it was started
                    thread.join()

    return run


class _Worker(threading.Thread):
    """Hands records to one process, and begins another where it dies."""

    def __init__(self, function: str, number: int, count: int, jobs: Any, results: Any):
        super().__init__(daemon=True)
        self._function, self._jobs, self._results = function, jobs, results
        allowed = cores()
        self._core = {allowed[number]} if count <= len(allowed) else None
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._versions = versions_here()

    def run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None and not self._ended:
                self._do(*job)
        finally:
            self._drop()

    def _do(self, name: str, record: Record, tries: int) -> None:
        try:
            result = self._ask(record)
        except (
            Exception
        ) as error:  # no process can be started, or it answers nonsense: said, not waited for
            self._drop()
            result = Result(None, one_line(f"{type(error).__name__}: {error}"))
        if result is not None:
            self._results.put((name, result))
        elif tries < TRIES:
            self._jobs.put((name, record, tries + 1))
        else:
            why = f"the process that computed it died, {TRIES} times."
            self._results.put((name, Result(None, why)))

    def _ask(self, record: Record) -> Result | None:
        """The result of a record; None if the process died."""
        if self._process is None:
            self._process = self._start()
        if self._ended:  # looked at after the process is known: `end` looks in the other order
            return None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"function": self._function, "record": record, "versions": self._versions}
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            self._drop()
            return None
        return Result(**json.loads(line))

    def _drop(self) -> None:
        """Ends the process, if there is one; the next record gets another."""
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError):  # what was written and never read
                self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
        folder = getattr(jax.config, "jax_compilation_cache_dir", None)
        if folder:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "seqjax.search.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the driver, which says how to go on
        )
        if self._core and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(
                process.pid, self._core
            )  # JAX makes as many threads as it sees cores
        return process

    def end(self) -> None:
        """Ends the thread, and its process at once, whatever it computes."""
        self._ended = True
        self._jobs.put(None)
        process = self._process
        if process is not None:
            process.kill()
