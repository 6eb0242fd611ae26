"""Checkpoints by Orbax: the state of training, and a JSON record of what is needed to rebuild it.

A checkpoint is a folder named by its step, and beside it a list of SHA-256 sums of its files. It is
written under another name, and takes its own when its list is on the disk: a folder without a list, a
list without a folder and files that differ from it are damage, never the trace of a save that was cut
off. What is damaged is passed over, with a word, for the one before. It is not removed: only what is
known to be sound, and what was cut off, is.
"""

import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging

from seqjax.errors import InputError, RunError
from seqjax.files.writing import (
    Place,
    is_folder,
    make_folder,
    sync_folder,
    write_atomically,
)
from seqjax.runs.sums import damage_of, files_of, sums_of
from seqjax.types import Array, Params

KEPT = 3
MARGIN = 1 << 18  # bytes of a checkpoint beside its arrays, and more
FREE_BYTES = 256 << 20  # a checkpoint may claim this much memory ...
FOLD = 100  # ... and so many times its bytes on disk: zeros are stored in little


class Stepped(Protocol):
    """A tree of arrays that counts its steps, as a `TrainState` or a `Population`."""

    @property
    def step(self) -> Array: ...


_STEP = re.compile(r"0|[1-9][0-9]{0,17}")
_LIST = re.compile(rf"({_STEP.pattern})\.sha256")
_CUT_OFF = re.compile(  # Orbax's own names, and ours
    rf"({_STEP.pattern})(\.unfinished|(\.unfinished)?\.orbax-checkpoint-tmp(-[0-9]+)?)"
)

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
        self._above = Place(next(p for p in self.directory.parents if os.path.isdir(p)))

    def save(self, state: Stepped, record: dict[str, Any]) -> None:
        """Saves, and returns when all is on the disk. Checkpoints of later steps are removed.

        Raises:
          RunError: if it cannot be written, as on a full disk or where the directory above was
            removed; those before it stay.
        """
        step = int(state.step)
        if step in self.steps() and self._is_intact(step):
            return  # the same state: the step counts every update
        try:
            self._make_directory()
            self._clear_up()
            self.drop_after(step - 1)
            self._set_aside(step)
            _check_room(self.directory, sum(x.nbytes for x in jax.tree.leaves(state)))
            self._write(step, state, record)
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            with suppress(OSError, RunError):
                self._clear_up()
            last = f"the last good one is of step {max(self.steps())}" if self.steps() else "none"
            raise RunError(
                f"cannot save step {step} in {self.directory}: {_reason(error)}; before it: {last}."
            ) from error
        self._intact[step] = True
        for old in [s for s in self.steps() if s <= step][:-KEPT]:
            self._remove(old)

    def steps(self) -> list[int]:
        """The steps of which a folder and its list are there, oldest first."""
        names = self._names()
        return [step for step in self._seen(names) if {str(step), f"{step}.sha256"} <= names]

    def exists(self) -> bool:
        """Whether there is a checkpoint that can be read; False if none was ever saved.

        Raises:
          RunError: if there are some, and none can be read.
        """
        if self._seen(self._names()):
            self.newest()
            return True
        return False

    def drop_after(self, step: int) -> None:
        """Removes checkpoints of later steps, as those a run was resumed from before.

        What is damaged stays.
        """
        self._clear_up()
        for later in self.steps():
            if later > step and not damage_of(self._folder(later), self._list_of(later)):
                self._remove(later)

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
        saved = self._saved_shapes()
        items = _items(like) if "params" in saved else {"state": like}  # one item, before 0.2
        self._check_fits(saved, {name: _shapes(tree) for name, tree in items.items()})
        self._check_size(like)
        read = self._restore(**{name: _like(tree) for name, tree in items.items()})
        state: Any = read["state"]
        return state._replace(params=read["params"]) if "params" in items else state

    def restore_params(self, like: Params) -> Params:
        """The parameters of the newest state that is intact, and nothing else of it.

        Args:
          like: as for `restore`, of the parameters alone.
        """
        saved = self._saved_shapes()
        if "params" in saved:
            self._check_fits({"params": saved["params"]}, {"params": _shapes(like)})
            self._check_size(like)
            return self._restore(params=_like(like))["params"]
        # Before 0.2 the parameters were a part of the one item: it is read as it was written.
        names = {f"params.{name}": shape for name, shape in _shapes(like).items()}
        params = {k: v for k, v in saved["state"].items() if k.startswith("params.")}
        self._check_fits({"state": params}, {"state": names})
        tree = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), self._metadata()["state"].tree
        )
        self._check_size(tree)
        read = self._restore(state=_like(tree))["state"]
        leaves = {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(read["params"])}
        return jax.tree.map_with_path(lambda path, _: leaves[_name(path)], like)

    def close(self) -> None:
        """Ends Orbax's threads."""
        if self._orbax is not None:
            with _quiet(), suppress(OSError, ValueError, RuntimeError):  # `save` has said it
                self._orbax.close()
            self._orbax = None

    # ------------------------------------------------------------ which one

    def newest(self) -> int:
        """The step of the newest checkpoint that is intact.

        Raises:
          InputError: if there is no checkpoint.
          RunError: if all of them are damaged.
        """
        steps = self._seen(self._names())
        if not steps:
            raise InputError(f"no checkpoint in {self.directory}.")
        for step in reversed(steps):
            if self._is_intact(step):
                return step
        damage = damage_of(self._folder(steps[-1]), self._list_of(steps[-1]))
        raise RunError(
            f"every checkpoint in {self.directory} is damaged (step {steps[-1]}: {damage}); none"
            " can be read. Bring back what is missing, or start another run."
        )

    def _is_intact(self, step: int) -> bool:
        if step not in self._intact:
            damage = damage_of(self._folder(step), self._list_of(step))
            if damage:
                before = any(s < step for s in self._seen(self._names()))
                _warn(
                    f"the checkpoint of step {step} in {self.directory} is damaged ({damage}); "
                    + ("trying the one before." if before else "none is before.")
                )
            self._intact[step] = not damage
        return self._intact[step]

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except (OSError, ValueError) as error:  # (a name with a zero byte is a ValueError)
            raise RunError(f"cannot read {self.directory}: {_reason(error)}.") from error

    def _seen(self, names: set[str]) -> list[int]:
        """Steps with a folder, or with a list whose folder was not just cut off, oldest first."""
        folders = {
            name for name in names if _STEP.fullmatch(name) and is_folder(self._folder(name))
        }
        lists = {match[1] for match in map(_LIST.fullmatch, names) if match}
        return sorted(map(int, folders | {s for s in lists if f"{s}.unfinished" not in names}))

    def _folder(self, step: int | str) -> Path:
        return self.directory / str(step)

    def _list_of(self, step: int | str) -> Path:
        return self.directory / f"{step}.sha256"

    # ------------------------------------------------------------ writing and removing

    def _make_directory(self) -> None:
        """... below what was there when we began: not where somebody has removed it all."""
        self._above.check()
        for path in (*reversed(self.directory.parents), self.directory):
            if len(path.parts) > len(self._above.path.parts):
                make_folder(path)

    def _write(self, step: int, state: Stepped, record: dict[str, Any]) -> None:
        unfinished = self.directory / f"{step}.unfinished"
        arguments = ocp.args.Composite(
            record=ocp.args.JsonSave(record),
            **{name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()},
        )
        with _quiet():
            self._open().save(unfinished, args=arguments)
        write_atomically(self._list_of(step), sums_of(unfinished, str(step)))
        unfinished.rename(self._folder(step))
        sync_folder(self.directory)

    def _remove(self, step: int) -> None:
        """Its name first: what is half removed is no checkpoint any more."""
        self._intact.pop(step, None)
        self._folder(step).rename(self.directory / f"{step}.unfinished")
        self._clear_up()

    def _clear_up(self) -> None:
        """Removes what was cut off in being written or removed."""
        for name in self._names():
            if match := _CUT_OFF.fullmatch(name):
                if not os.path.lexists(self._folder(match[1])):
                    self._list_of(match[1]).unlink(missing_ok=True)
                if is_folder(self.directory / name):
                    shutil.rmtree(self.directory / name, ignore_errors=True)

    def _set_aside(self, step: int) -> None:
        """Makes room for a step where something else has its name, and keeps that."""
        paths = [self._folder(step), self._list_of(step)]
        paths = [path for path in paths if os.path.lexists(path)]
        if paths:
            self._intact.pop(step, None)
            aside = Path(tempfile.mkdtemp(prefix=f"{step}.damaged-", dir=self.directory))
            for path in paths:
                path.rename(aside / path.name)
            _warn(f"what was damaged of step {step} is kept in {aside}.")

    # ------------------------------------------------------------ Orbax

    def _metadata(self) -> Any:
        step = self.newest()
        with self._reading():
            return self._open().metadata(self._folder(step)).item_metadata

    def _saved_shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Of each item of arrays in the newest checkpoint, the shape of every array by its name."""
        metadata = self._metadata()
        with self._reading():
            items = [name for name in ("params", "state") if metadata.get(name) is not None]
            return {name: _shapes(metadata[name].tree) for name in items}

    def _check_fits(self, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Orbax would say less, and leave its readers unfinished."""
        for item in sorted(saved.keys() | wanted.keys()):
            there, here = saved.get(item, {}), wanted.get(item, {})
            for name in sorted(there.keys() | here.keys()):
                if there.get(name) != here.get(name):
                    full = name if item == "state" else f"{item}.{name}"
                    raise RunError(
                        f"the checkpoint in {self.directory} is of another model: {full} has shape"
                        f" {there.get(name, 'none')} there and {here.get(name, 'none')} here."
                    )

    def _check_size(self, like: Any) -> None:
        """Orbax would believe any size."""
        on_disk = sum(path.stat().st_size for path in files_of(self._folder(self.newest())))
        leaves = jax.tree.leaves(like)
        claimed = sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in leaves)
        if claimed > FREE_BYTES + FOLD * on_disk:
            raise RunError(
                f"the checkpoint in {self.directory} claims {claimed:,} bytes of memory and has"
                f" {on_disk:,} on disk: it is damaged or forged."
            )

    def _restore(self, **args: Any) -> Any:
        step = self.newest()
        with self._reading():
            return self._open().restore(self._folder(step), args=ocp.args.Composite(**args))

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
            # Of several processes (see `shared_checkpoints`) the first one is alone here.
            options = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
            alone: dict[str, Any] = {"multiprocessing_options": options}
            handlers = {
                "params": ocp.StandardCheckpointHandler(**alone),
                "state": ocp.StandardCheckpointHandler(**alone),
                "record": ocp.JsonCheckpointHandler(**alone),
            }
            composite = ocp.CompositeCheckpointHandler(
                composite_options=ocp.CompositeOptions(**alone), **handlers
            )
            self._orbax = ocp.Checkpointer(composite, **alone)
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
    with tempfile.TemporaryFile(dir=directory) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes + MARGIN)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")


def _items(state: Any) -> dict[str, Any]:
    """The items of a checkpoint: parameters stand by themselves, for those who need no more."""
    if not hasattr(state, "params"):
        return {"state": state}
    return {"params": state.params, "state": state._replace(params=())}


def _like(tree: Any) -> ocp.args.StandardRestore:
    return ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, tree))


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {_name(path): tuple(x.shape) for path, x in jax.tree.leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
