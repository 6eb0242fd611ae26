"""Checkpoints by Orbax: the state of training, and a JSON record of what is needed to rebuild it.

A checkpoint is a folder of `StepFolders`, named by its step: what is damaged is passed over for the one before.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from seqjax.errors import InputError, RunError, reason
from seqjax.runs.step_folders import StepFolders
from seqjax.runs.sums import files_of
from seqjax.types import Array, Params

KEPT = 3
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
        self._folders = StepFolders(self.directory)
        self._orbax: ocp.Checkpointer | None = None

    def save(self, state: Stepped, record: dict[str, Any]) -> None:
        """Saves, and returns when all is on the disk. Checkpoints of later steps are removed.

        What is there already is not written again.

        Raises:
          InputError: if two arrays of the state have one name, as those of `{"a.b": ...}` and `{"a": {"b": ...}}`.
          RunError: if it cannot be written, as on a full disk or where the directory above was
            removed; those before it stay.
        """
        step = int(state.step)
        state = _storable(state)
        _check_names(state)
        if self._folders.has(step) and self._holds(step, state, record):
            return
        num_bytes = sum(x.nbytes for x in jax.tree.leaves(state))
        try:
            self._folders.add(step, num_bytes, lambda folder: self._write(folder, state, record))
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            with suppress(OSError, RunError):
                self._folders.clear_up()
            last = f"the last good one is of step {max(self.steps())}" if self.steps() else "none"
            raise RunError(
                f"cannot save step {step} in {self.directory}: {reason(error)}; before it: {last}."
            ) from error
        self._folders.keep(KEPT, step)

    def _holds(self, step: int, state: Any, record: dict[str, Any]) -> bool:
        """Whether the checkpoint of a step is intact and has this record and these very arrays."""
        try:
            if self.newest() != step or self.read_record() != json.loads(json.dumps(record)):
                return False
            there = jax.tree.leaves(self.restore(state))
        except RunError:
            return False
        here = jax.tree.leaves(state)
        return all(
            np.asarray(a).tobytes() == np.asarray(b).tobytes()
            for a, b in zip(here, there, strict=True)
        )

    def steps(self) -> list[int]:
        """The steps of which a folder and its list are there, oldest first."""
        return self._folders.steps()

    def newest(self) -> int:
        """The step of the newest checkpoint that is intact; `StepFolders.newest` says what it raises."""
        return self._folders.newest()

    def exists(self) -> bool:
        """Whether there is a checkpoint that can be read; False if none was ever saved.

        Raises:
          RunError: if there are some, and none can be read.
        """
        if self._folders.exist():
            self.newest()
            return True
        return False

    def drop_after(self, step: int) -> None:
        """Removes checkpoints of later steps, as those a run was resumed from before.

        What is damaged stays.
        """
        self._folders.drop_after(step)

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
        saved, stored = self._saved_shapes(), _storable(like)
        items = _items(stored) if "params" in saved else {"state": stored}  # one item, before 0.2
        self._check_fits(saved, {name: _shapes(tree) for name, tree in items.items()})
        self._check_size(stored)
        read = self._restore(**{name: _like(tree) for name, tree in items.items()})
        state: Any = read["state"]
        state = state._replace(params=read["params"]) if "params" in items else state
        return jax.tree.map(_as_key, like, state)

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

    # ------------------------------------------------------------ Orbax

    def _write(self, folder: Path, state: Stepped, record: dict[str, Any]) -> None:
        arguments = ocp.args.Composite(
            record=ocp.args.JsonSave(record),
            **{name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()},
        )
        with _quiet():
            self._open().save(folder, args=arguments)

    def _metadata(self) -> Any:
        step = self.newest()
        with self._reading():
            return self._open().metadata(self._folders.folder(step)).item_metadata

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
        on_disk = sum(path.stat().st_size for path in files_of(self._folders.folder(self.newest())))
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
            return self._open().restore(self._folders.folder(step), args=ocp.args.Composite(**args))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Files that somebody made to fit their list of sums raise whatever Orbax meets in them."""
        try:
            with _quiet():
                yield
        except Exception as error:
            raise RunError(
                f"cannot read the checkpoint in {self.directory}: {reason(error)}."
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


def _items(state: Any) -> dict[str, Any]:
    """The items of a checkpoint: parameters stand by themselves, for those who need no more."""
    if not hasattr(state, "params"):
        return {"state": state}
    return {"params": state.params, "state": state._replace(params=())}


def _storable(state: Any) -> Any:
    """The arrays that are stored: of a random key its numbers, of a Python number an array."""

    def stored(x: Any) -> Any:
        if not _is_key(x):
            return x if hasattr(x, "shape") and not isinstance(x, np.generic) else np.asarray(x)
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.eval_shape(jax.random.key_data, x)
        return jax.random.key_data(x)

    return jax.tree.map(stored, state)


def _as_key(like: Any, read: Any) -> Any:
    """What was read, as a random key where it was one."""
    if not _is_key(like):
        return read
    key = like if isinstance(like, jax.Array) else jnp.empty((), like.dtype)
    return jax.random.wrap_key_data(read, impl=jax.random.key_impl(key))


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _check_names(state: Any) -> None:
    names = Counter(_name(path) for path, _ in jax.tree.leaves_with_path(state))
    for name, count in names.items():
        if count > 1:
            raise InputError(f"two arrays of the state are both called {name}: rename one of them.")


def _like(tree: Any) -> ocp.args.StandardRestore:
    return ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, tree))


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {_name(path): tuple(x.shape) for path, x in jax.tree.leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
