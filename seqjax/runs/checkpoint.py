"""Checkpoints by Orbax: the state of training, and a JSON record of what is needed to rebuild it.

Every checkpoint has a list of SHA-256 sums beside it, in the form of `sha256sum`, written when all
else is on the disk. What has no list was cut off in being written, what differs from it is damaged;
both are passed over, the latter with a word, for the one before.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import orbax.checkpoint as ocp
from absl import logging

from seqjax.errors import InputError, RunError
from seqjax.files.json import LARGEST
from seqjax.files.text import read_text
from seqjax.files.writing import write_atomically
from seqjax.types import Array

KEPT = 3
MARGIN = 1 << 18  # bytes of a checkpoint beside its arrays, and more
FREE_BYTES = 256 << 20  # a checkpoint may claim this much memory ...
FOLD = 100  # ... and so many times its bytes on disk: zeros are stored in little


class Stepped(Protocol):
    """A tree of arrays that counts its steps, as a `TrainState` or a `Population`."""

    @property
    def step(self) -> Array: ...


State = TypeVar("State", bound=Stepped)


class Checkpoints:
    """The newest checkpoints of a directory, a few so that one that is damaged has a predecessor.

    Args:
      directory: made by the first save.
    """

    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self._orbax: ocp.Checkpointer | None = None
        self._intact: dict[int, bool] = {}  # what was verified

    def save(self, state: Stepped, record: dict[str, Any]) -> None:
        """Saves, and returns when all is on the disk. Checkpoints of later steps are removed.

        Raises:
          RunError: if it cannot be written, as on a full disk; those before it stay.
        """
        step = int(state.step)
        if step in self.steps() and self._is_intact(step):
            return  # the same state: the step counts every update
        self.drop_after(step - 1)
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
        )
        try:
            _check_room(self.directory, sum(x.nbytes for x in jax.tree.leaves(state)))
            with _quiet():
                self._open().save(self.directory / str(step), args=arguments)
            sums = "".join(f"{_sum(path)}  {name}\n" for name, path in self._files(step).items())
            write_atomically(self._list_of(step), sums)
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            self._remove(step)
            last = f"the last good one is of step {max(self.steps())}" if self.steps() else "none"
            raise RunError(
                f"cannot save step {step} in {self.directory}: {_reason(error)}; before it: {last}."
            ) from error
        self._intact[step] = True
        for old in sorted(self.steps())[:-KEPT]:
            self._remove(old)

    def steps(self) -> list[int]:
        """The steps that were saved to the end, oldest first."""
        names = (path.stem for path in self.directory.glob("*.sha256"))
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())

    def exists(self) -> bool:
        return bool(self.steps())

    def drop_after(self, step: int) -> None:
        """Removes checkpoints of later steps, as those a run was resumed from before."""
        if not self.directory.is_dir():
            return
        later = [path.name.split(".")[0] for path in self.directory.iterdir()]
        for name in {name for name in later if name.isascii() and name.isdecimal()}:
            if int(name) > step:
                self._remove(int(name))

    def read_record(self) -> dict[str, Any]:
        """The JSON record of the newest checkpoint that is intact."""
        record = self._restore(record=ocp.args.JsonRestore())["record"]
        if not isinstance(record, dict):
            raise RunError(f"the record of the checkpoint in {self.directory} is no JSON object.")
        return record

    def restore(self, like: State) -> State:
        """The newest state that is intact.

        Args:
          like: gives its structure, shapes and dtypes; arrays or `jax.ShapeDtypeStruct`s.
        """
        self._check_fits(like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._restore(state=ocp.args.StandardRestore(abstract))["state"]

    def close(self) -> None:
        """Ends Orbax's threads."""
        if self._orbax is not None:
            with _quiet(), suppress(OSError, ValueError, RuntimeError):  # `save` has said it
                self._orbax.close()
            self._orbax = None

    # ------------------------------------------------------------ which one

    def _newest(self) -> int:
        steps = self.steps()
        if not steps:
            raise InputError(f"no checkpoint in {self.directory}.")
        for step in reversed(steps):
            if self._is_intact(step):
                return step
        raise RunError(f"every checkpoint in {self.directory} is damaged; none can be read.")

    def _is_intact(self, step: int) -> bool:
        if step not in self._intact:
            damage = self._damage(step)
            if damage:
                others = [s for s in self.steps() if s < step]
                print(
                    f"warning: the checkpoint of step {step} in {self.directory} is damaged"
                    f" ({damage}); " + ("trying the one before." if others else "none is before."),
                    file=sys.stderr,
                    flush=True,
                )
            self._intact[step] = not damage
        return self._intact[step]

    def _damage(self, step: int) -> str:
        """What is wrong with a checkpoint's files; "" if nothing is."""
        files = self._files(step)
        try:
            lines = read_text(self._list_of(step), LARGEST).splitlines()
            sums = {name: sum for sum, name in (line.split("  ", 1) for line in lines)}
        except (OSError, ValueError):
            return "its list of sums cannot be read"
        for name in sorted(sums.keys() | files.keys()):
            if name not in files:
                return f"{name} is missing"
            if name not in sums:
                return f"{name} is not in its list"
            try:
                if _sum(files[name]) != sums[name]:
                    return f"{name} was changed"
            except OSError as error:
                return f"{name} cannot be read: {error.strerror}"
        return "" if sums else "its list of sums is empty"

    def _files(self, step: int) -> dict[str, Path]:
        """Files of a checkpoint by their names in the list of sums."""
        root = self.directory / str(step)
        found = sorted(path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(self.directory).as_posix(): path for path in found}

    def _list_of(self, step: int) -> Path:
        return self.directory / f"{step}.sha256"

    def _remove(self, step: int) -> None:
        """The list first: what is half removed is no checkpoint any more."""
        self._intact.pop(step, None)
        self._list_of(step).unlink(missing_ok=True)
        unfinished = self.directory.glob(f"{step}.*")  # Orbax's own, where it was cut off
        for path in (self.directory / str(step), *unfinished):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    # ------------------------------------------------------------ Orbax

    def _check_fits(self, like: Stepped) -> None:
        """Orbax would say less, leave its readers unfinished, and believe any size."""
        step = self._newest()
        with self._reading():
            metadata = self._open().metadata(self.directory / str(step)).item_metadata
            saved = _shapes(metadata["state"].tree)
        wanted = _shapes(like)
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise RunError(
                    f"the checkpoint in {self.directory} is of another model: {name} has shape"
                    f" {saved.get(name, 'none')} there and {wanted.get(name, 'none')} here."
                )
        on_disk = sum(path.stat().st_size for path in self._files(step).values())
        claimed = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(like))
        if claimed > FREE_BYTES + FOLD * on_disk:
            raise RunError(
                f"the checkpoint in {self.directory} claims {claimed:,} bytes of memory and has"
                f" {on_disk:,} on disk: it is damaged or forged."
            )

    def _restore(self, **args: Any) -> Any:
        step = self._newest()
        with self._reading():
            return self._open().restore(self.directory / str(step), args=ocp.args.Composite(**args))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Files that somebody made to fit their list of sums raise whatever Orbax meets in them."""
        try:
            with _quiet():
                yield
        except Exception as error:
            raise RunError(
                f"cannot read the checkpoint in {self.directory}: {_reason(error)}."
            ) from error

    def _open(self) -> ocp.Checkpointer:
        # No CheckpointManager: it reads all steps' files before one, and fails with the worst.
        if self._orbax is None:
            handlers = {
                "state": ocp.StandardCheckpointHandler(),
                "record": ocp.JsonCheckpointHandler(),
            }
            self._orbax = ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers))
        return self._orbax


@contextmanager
def _quiet() -> Iterator[None]:
    """Orbax's threads log a failure with pages of tracebacks, where `save` raises one sentence."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _check_room(directory: Path, num_bytes: int) -> None:
    """Raises OSError if so much does not fit the disk, before Orbax has begun with many files."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes + MARGIN)


def _sum(path: Path) -> str:
    """The SHA-256 sum of a file that, from then on, is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="."): x.shape for p, x in leaves}
