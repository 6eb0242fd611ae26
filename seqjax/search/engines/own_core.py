"""A core for a process alone, where many processes of one machine start without knowing of each other."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from seqjax.search.engines.records import Record, Result, evaluate

# The open file whose lock says that the core is taken; the system lets go of it when the process ends.
_held: list[int] = []


def take_a_core() -> None:
    """Binds this process to a core that no other caller of this machine and user has, while it lives.

    JAX makes as many threads as it sees cores, and processes that each use all of them wait for each other;
    results also depend on the number of threads in their last bits. Must be called before JAX is first used. Does
    nothing where all cores are taken, or where the system knows no such binding.
    """
    if _held or not hasattr(os, "sched_setaffinity"):
        return
    import fcntl  # not on every system

    folder = Path(tempfile.gettempdir()) / f"seqjax-cores-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            return  # somebody else's, who could hold every lock
        for core in sorted(os.sched_getaffinity(0)):
            lock = os.open(folder / str(core), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            os.sched_setaffinity(0, {core})
            _held.append(lock)
            return


def evaluate_on_own_core(function: str, record: Record, versions: dict[str, str]) -> Result:
    """`evaluate`, by a process that has a core of its own from its first record on."""
    take_a_core()
    return evaluate(function, record, versions)
