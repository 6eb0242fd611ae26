"""The directory a run writes to, which one run at a time may have."""

import dataclasses
import datetime
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seqjax.errors import InputError, RunError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, two runs are not told apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def open_workdir(path: str, *, name: str, resume: bool) -> Iterator[Path]:
    """Makes the directory, or finds it again, and locks it until the end of the `with`.

    The lock belongs to the process: the system takes it away from one that dies, however it dies,
    so that a stale lock cannot be. The file `lock` says who holds it, and since when.

    Args:
      path: where; "" for `runs/NAME-DATE-TIME`.
      name: of the experiment.
      resume: whether the run that is already there goes on.

    Raises:
      InputError: if it cannot be written, or holds a run that nobody asked to resume.
      RunError: if another run has it now.
    """
    now = datetime.datetime.now()
    default = Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"
    try:
        workdir = Path(path).expanduser() if path else default
    except (RuntimeError, ValueError) as error:  # (a name with a zero byte is a ValueError)
        raise InputError(f"--workdir={path} names no known home directory.") from error
    if not resume and os.path.lexists(workdir / "config.json"):
        raise InputError(
            f"--workdir={workdir} holds a run already: add --resume to go on with it, or name"
            " another directory."
        )
    new = not os.path.lexists(workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot make --workdir={workdir}: {reason}.") from error
    if not os.access(workdir, os.W_OK | os.X_OK):
        raise InputError(f"--workdir={workdir} is not writable.")
    try:
        with _locked(workdir, now):
            yield workdir
    finally:
        with suppress(OSError):  # bad input: no trace
            if new and [path.name for path in workdir.iterdir()] == ["lock"]:
                shutil.rmtree(workdir, ignore_errors=True)


@contextmanager
def _locked(workdir: Path, now: datetime.datetime) -> Iterator[None]:
    lock = workdir / "lock"
    try:
        # Not through a link, which in a stranger's directory may lead to any file.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        opened = os.fdopen(os.open(lock, flags, 0o644), "a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot open {lock}: {error.strerror or error}.") from error
    with opened as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"--workdir={workdir} is in use by {_owner(file, now)}: wait for it, stop it, or"
                    " name another directory."
                ) from None
        owner = {
            "pid": os.getpid(),
            "host": platform.node(),
            "since": now.isoformat("T", "seconds"),
        }
        file.truncate(0)
        file.write(json.dumps(owner) + "\n")
        file.flush()
        yield
        file.truncate(0)  # and stays: to remove it would be to race with the next run


def _owner(file: Any, now: datetime.datetime) -> str:
    """Who holds the lock, as far as the file says."""
    file.seek(0)
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        owner = json.loads(file.read(1000))
        seconds = (now - datetime.datetime.fromisoformat(owner["since"])).total_seconds()
        age = datetime.timedelta(seconds=max(0, round(seconds)))
        return f"process {owner['pid']} on {owner['host']}, for {age} (hours:minutes:seconds)"
    return "another run"


def check_same(saved: dict[str, Any], config: Any, where: Path) -> None:
    """Raises InputError if `config` differs from the saved one in a field that must not.

    `workdir` and `resume` may, and every dataclass field whose metadata has a true "may_differ".
    """
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in ("workdir", "resume") or field.metadata.get("may_differ"):
            continue
        if name in saved and saved[name] != value:
            raise InputError(
                f"the run in {where} was made with --{name}={saved[name]}, got --{name}={value}:"
                " use the same, or start another run in another --workdir."
            )
