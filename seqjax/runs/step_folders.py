"""Folders that are named by steps, each beside a list of SHA-256 sums of its files.

A folder is written under another name, and takes its own when its list is on the disk: a folder without a
list, a list without a folder and files that differ from it are damage, never the trace of a write that was
cut off. What is damaged is passed over, with a word, for the one before. It is not removed: only what is
known to be sound, and what was cut off, is.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from seqjax.errors import InputError, RunError, reason
from seqjax.files.writing import (
    Place,
    is_folder,
    make_folder,
    sync_folder,
    write_atomically,
)
from seqjax.runs.sums import damage_of, sums_of

MARGIN = 1 << 18  # bytes of a folder beside what it was said to take, and more

_STEP = re.compile(r"0|[1-9][0-9]{0,17}")
_LIST = re.compile(rf"({_STEP.pattern})\.sha256")
_CUT_OFF = re.compile(  # Orbax's own names, and ours
    rf"({_STEP.pattern})(\.unfinished|(\.unfinished)?\.orbax-checkpoint-tmp(-[0-9]+)?)"
)


class StepFolders:
    """The folders of a directory.

    Args:
      directory: an absolute path; made by the first `add`.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._intact: dict[int, bool] = {}  # what was verified
        self._above = Place(next(p for p in self.directory.parents if os.path.isdir(p)))

    def add(self, step: int, num_bytes: int, write: Callable[[Path], None]) -> None:
        """Adds a folder, and returns when all is on the disk. Those of later steps are removed.

        Args:
          step: its name.
          num_bytes: about how many it will take.
          write: called with the path of a folder to be made.
        """
        self._make_directory()
        self.clear_up()
        self.drop_after(step - 1)
        self._set_aside(step)
        _check_room(self.directory, num_bytes)
        unfinished = self.directory / f"{step}.unfinished"
        write(unfinished)
        write_atomically(self._list_of(step), sums_of(unfinished, str(step)))
        unfinished.rename(self.folder(step))
        sync_folder(self.directory)
        self._intact[step] = True

    def keep(self, count: int, step: int) -> None:
        """Removes all but `count` of the folders up to a step."""
        for old in [s for s in self.steps() if s <= step][:-count]:
            self._remove(old)

    def steps(self) -> list[int]:
        """The steps of which a folder and its list are there, oldest first."""
        names = self._names()
        return [step for step in self._seen(names) if {str(step), f"{step}.sha256"} <= names]

    def exist(self) -> bool:
        """Whether there is one, sound or damaged."""
        return bool(self._seen(self._names()))

    def has(self, step: int) -> bool:
        """Whether the folder of a step is there and sound."""
        return step in self.steps() and self.is_intact(step)

    def drop_after(self, step: int) -> None:
        """Removes the sound folders of later steps."""
        self.clear_up()
        for later in self.steps():
            if later > step and not damage_of(self.folder(later), self._list_of(later)):
                self._remove(later)

    def newest(self) -> int:
        """The step of the newest folder that is intact.

        Raises:
          InputError: if there is none.
          RunError: if all of them are damaged.
        """
        steps = self._seen(self._names())
        if not steps:
            raise InputError(f"no checkpoint in {self.directory}.")
        for step in reversed(steps):
            if self.is_intact(step):
                return step
        damage = damage_of(self.folder(steps[-1]), self._list_of(steps[-1]))
        raise RunError(
            f"every checkpoint in {self.directory} is damaged (step {steps[-1]}: {damage}); none"
            " can be read. Bring back what is missing, or start another run."
        )

    def is_intact(self, step: int) -> bool:
        """Whether the folder of a step is as its list says; if not, that is said once."""
        if step not in self._intact:
            damage = damage_of(self.folder(step), self._list_of(step))
            if damage:
                before = any(s < step for s in self._seen(self._names()))
                _warn(
                    f"the checkpoint of step {step} in {self.directory} is damaged ({damage}); "
                    + ("trying the one before." if before else "none is before.")
                )
            self._intact[step] = not damage
        return self._intact[step]

    def folder(self, step: int | str) -> Path:
        """Where the folder of a step is."""
        return self.directory / str(step)

    def clear_up(self) -> None:
        """Removes what was cut off in being written or removed."""
        for name in self._names():
            if match := _CUT_OFF.fullmatch(name):
                if not os.path.lexists(self.folder(match[1])):
                    self._list_of(match[1]).unlink(missing_ok=True)
                if is_folder(self.directory / name):
                    shutil.rmtree(self.directory / name, ignore_errors=True)

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except (OSError, ValueError) as error:  # (a name with a zero byte is a ValueError)
            raise RunError(f"cannot read {self.directory}: {reason(error)}.") from error

    def _seen(self, names: set[str]) -> list[int]:
        """Steps with a folder, or with a list whose folder was not just cut off, oldest first."""
        folders = {name for name in names if _STEP.fullmatch(name) and is_folder(self.folder(name))}
        lists = {match[1] for match in map(_LIST.fullmatch, names) if match}
        return sorted(map(int, folders | {s for s in lists if f"{s}.unfinished" not in names}))

    def _list_of(self, step: int | str) -> Path:
        return self.directory / f"{step}.sha256"

    def _make_directory(self) -> None:
        """... below what was there when we began: not where somebody has removed it all."""
        self._above.check()
        for path in (*reversed(self.directory.parents), self.directory):
            if len(path.parts) > len(self._above.path.parts):
                make_folder(path)

    def _remove(self, step: int) -> None:
        """Its name first: what is half removed is no checkpoint any more."""
        self._intact.pop(step, None)
        self.folder(step).rename(self.directory / f"{step}.unfinished")
        self.clear_up()

    def _set_aside(self, step: int) -> None:
        """Makes room for a step where something else has its name, and keeps that."""
        paths = [self.folder(step), self._list_of(step)]
        paths = [path for path in paths if os.path.lexists(path)]
        if paths:
            self._intact.pop(step, None)
            aside = Path(tempfile.mkdtemp(prefix=f"{step}.damaged-", dir=self.directory))
            for path in paths:
                path.rename(aside / path.name)
            _warn(f"what was damaged of step {step} is kept in {aside}.")


def _check_room(directory: Path, num_bytes: int) -> None:
    """Raises OSError if so much does not fit the disk, before Orbax has begun with many files."""
    with tempfile.TemporaryFile(dir=directory) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes + MARGIN)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
