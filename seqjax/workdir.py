"""The directory a run writes to."""

import dataclasses
import datetime
import os
from pathlib import Path
from typing import Any

from seqjax.errors import InputError


def open_workdir(path: str, *, name: str, resume: bool) -> Path:
    """Makes the directory, or finds it again.

    Args:
      path: where; "" for `runs/NAME-DATE-TIME`.
      name: of the experiment.
      resume: whether the run that is already there goes on.

    Raises:
      InputError: if it cannot be written, or holds a run that nobody asked to resume.
    """
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    workdir = Path(path).expanduser() if path else Path("runs") / f"{name}-{now}"
    if not resume and (workdir / "config.json").exists():
        raise InputError(
            f"--workdir={workdir} holds a run already: add --resume to go on with it, or name"
            " another directory."
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make --workdir={workdir}: {error.strerror}.") from error
    if not os.access(workdir, os.W_OK | os.X_OK):
        raise InputError(f"--workdir={workdir} is not writable.")
    return workdir


def check_same(saved: dict[str, Any], config: Any, may_differ: set[str], where: Path) -> None:
    """Raises InputError if `config` differs from the saved one in a field that must not."""
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name not in may_differ and name in saved and saved[name] != value:
            raise InputError(
                f"the run in {where} was made with --{name}={saved[name]}, got --{name}={value}:"
                " use the same, or start another run in another --workdir."
            )
