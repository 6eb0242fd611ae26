"""The directory a run writes to, which one run at a time may have."""

import contextlib
import dataclasses
import datetime
import hashlib
import itertools
import json
import os
import platform
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from seqjax.errors import InputError, RunError, reason, shown
from seqjax.files.json import finite
from seqjax.files.writing import NO_LINK, Place, remove_partial

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, two runs are not told apart
    fcntl = None  # type: ignore[assignment]

OF_A_RUN = ("config.json", "metrics.jsonl", "checkpoints")  # by these an earlier run is known
FOLDERS = ("checkpoints", "checkpoints/last", "checkpoints/best", "population", "tensorboard")
ATTEMPTS = 1000  # each is spent on another process that came or went in between


@contextmanager
def open_workdir(path: str, *, name: str, resume: bool) -> Iterator[Path]:
    """Makes the directory, or finds it again, and locks it until the end of the `with`.

    The lock is taken first, and all else is looked at afterwards: of many processes that start at
    once, one goes on. The lock belongs to the process: the system takes it away from one that dies,
    however it dies, so that a stale lock cannot be. The file `lock`, which is there as long as
    somebody has the directory, says who, and since when.

    Args:
      path: where; "" for a new `runs/NAME-DATE-TIME`.
      name: of the experiment.
      resume: whether the run that is already there goes on.

    Raises:
      InputError: if it cannot be written, or holds a run and `resume` is False.
      RunError: if another run has it now; at the end, if it is gone.
    """
    now = datetime.datetime.now()
    for _ in range(ATTEMPTS):
        workdir, new = _find_or_make(path, f"{name}-{now:%Y%m%d-%H%M%S}")
        lock = _take_lock(workdir, now)
        if lock is not None:
            break
    else:
        raise RunError(f"{workdir} is made and removed by other runs all the time.")
    with lock:
        place = Place(workdir)
        try:
            _look_around(workdir, resume)
            yield workdir
            place.check()
        finally:
            # Nobody else removes anything: whoever waits for the lock sees that the file is gone.
            with suppress(OSError, RunError):
                place.check()
                (workdir / "lock").unlink()
                if new:
                    workdir.rmdir()  # bad input leaves no trace; a run's files stay


def _find_or_make(path: str, default: str) -> tuple[Path, bool]:
    """The directory, and whether it was made here."""
    try:
        workdir = Path(path).expanduser() if path else Path("runs") / default
    except (RuntimeError, ValueError) as error:  # (a name with a zero byte is a ValueError)
        raise InputError(f"workdir={path} names no known home directory.") from error
    try:
        workdir.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(2):
            try:
                workdir.mkdir()
                return workdir, True
            except FileExistsError:
                if path and workdir.is_dir():
                    return workdir, False
                if path and os.path.lexists(workdir):
                    raise
            if not path:
                workdir = Path("runs") / f"{default}-{number}"
    except (OSError, ValueError) as error:
        raise InputError(f"cannot make the directory {workdir}: {reason(error)}.") from error
    raise AssertionError  # (the count has no end)


def _take_lock(workdir: Path, now: datetime.datetime) -> TextIO | None:
    """The file `lock`, locked and with our name in it; None if it was removed meanwhile.

    Raises:
      InputError: if it cannot be opened, or is no lock of ours.
      RunError: if another process holds it.
    """
    lock = workdir / "lock"
    if not os.access(workdir, os.W_OK | os.X_OK):
        if not os.path.lexists(workdir):
            return None
        raise InputError(f"the directory {workdir} is not writable.")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | NO_LINK | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(lock, flags, 0o644)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot open {lock}: {error.strerror or error}.") from error
    with contextlib.ExitStack() as stack:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise InputError(f"{lock} is no lock of a run: name another directory.")
        file = stack.enter_context(os.fdopen(descriptor, "a+", encoding="utf-8"))
        owner = _owner(file, now)
        if not _locked(file):
            who = owner or "another run"
            raise RunError(
                f"{workdir} is in use by {who}: wait for it, stop it, or name another directory."
            )
        try:
            if not os.path.samestat(lock.lstat(), status):
                return None
        except OSError:
            return None
        if owner is None and os.fstat(descriptor).st_size:
            raise InputError(f"{lock} is no lock of a run: name another directory.")
        file.truncate(0)
        ours = {"pid": os.getpid(), "host": platform.node()}
        file.write(json.dumps(ours | {"since": now.isoformat("T", "seconds")}) + "\n")
        file.flush()
        stack.pop_all()
        return file


def _locked(file: TextIO) -> bool:
    """Whether the file is locked for this process now; False if it is for another."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _look_around(workdir: Path, resume: bool) -> None:
    """Raises InputError unless a run may write here."""
    for name in FOLDERS:
        if (workdir / name).is_symlink():
            raise InputError(
                f"{workdir / name} is a link, and a run writes into real directories only: move"
                " what it leads to in its place, or name another directory."
            )
    earlier = [name for name in OF_A_RUN if os.path.lexists(workdir / name)]
    if earlier and not resume:
        raise InputError(
            f"{workdir} holds a run already ({', '.join(earlier)}): go on with resume=True, or name"
            " another directory."
        )
    remove_partial(workdir)


def _owner(file: TextIO, now: datetime.datetime) -> str | None:
    """Who holds the lock, or held it before it died; None if the file does not say."""
    file.seek(0)
    with suppress(ValueError, KeyError, TypeError, RecursionError, OverflowError):
        owner = json.loads(file.read(1000))
        seconds = (now - datetime.datetime.fromisoformat(owner["since"])).total_seconds()
        age = datetime.timedelta(seconds=max(0, round(seconds)))
        return f"process {owner['pid']} on {owner['host']}, for {age} (hours:minutes:seconds)"
    return None


def identity_of(config: Any) -> str:
    """A short digest of the fields of a config that must not differ when a run goes on.

    Fields that have their defaults are left out, so that a field that is new changes no digest.
    """
    fixed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in ("workdir", "resume")
        and not field.metadata.get("may_differ")
        and getattr(config, field.name) != field.default
    }
    text = json.dumps(fixed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def check_same(saved: Any, config: Any, where: Path) -> None:
    """Raises InputError if `config` differs from the saved one in a field that must not.

    `workdir` and `resume` may, and every dataclass field whose metadata has a true "may_differ".
    """
    if not isinstance(saved, dict):
        raise InputError(f"the config in {where} must be a JSON object, got {shown(saved)}.")
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in ("workdir", "resume") or field.metadata.get("may_differ"):
            continue
        written = json.loads(json.dumps(finite(value)))  # as config.json holds it
        if name in saved and saved[name] != written:
            raise InputError(
                f"the run in {where} was made with {name}={saved[name]}, got {name}={value}:"
                " use the same, or start another run in another directory."
            )
