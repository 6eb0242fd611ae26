"""Checkpoints by Orbax: the train state, and a JSON record of what is needed to rebuild it."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from seqjax.errors import InputError, RunError
from seqjax.train import TrainState


class Checkpoints:
    """The newest checkpoint of a directory. A save replaces it once it is complete.

    Args:
      directory: made by the first save.
    """

    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self._manager: ocp.CheckpointManager | None = None

    def save(self, state: TrainState, record: dict[str, Any]) -> None:
        """Saves; returns when the state is copied, while the disk may still be written."""
        step = int(state.step)
        manager = self._open()
        manager.wait_until_finished()
        if manager.latest_step() == step:
            return  # the same state: the step counts every update
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
            ),
        )

    def exists(self) -> bool:
        return self.directory.is_dir() and self._open().latest_step() is not None

    def read_record(self) -> dict[str, Any]:
        """The JSON record of the newest checkpoint."""
        restored = self._restore(record=ocp.args.JsonRestore())
        return restored["record"]

    def restore(self, like: TrainState) -> TrainState:
        """The newest train state; `like` gives its structure, shapes and dtypes."""
        self._check_fits(like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._restore(state=ocp.args.StandardRestore(abstract))["state"]

    def close(self) -> None:
        """Waits for what is still being written."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()
            self._manager = None

    def _check_fits(self, like: TrainState) -> None:
        """Orbax would say less, and leave its readers unfinished."""
        if not self.exists():
            return  # _restore says so
        manager = self._open()
        manager.wait_until_finished()
        try:
            saved = _shapes(manager.item_metadata(manager.latest_step())["state"].tree)
        except (ValueError, KeyError, AttributeError, OSError):
            return  # damaged; _restore says so
        wanted = _shapes(like)
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise RunError(
                    f"the checkpoint in {self.directory} is of another model: {name} has shape"
                    f" {saved.get(name, 'none')} there and {wanted.get(name, 'none')} here."
                )

    def _restore(self, **args: Any) -> Any:
        if not self.exists():
            raise InputError(f"no checkpoint in {self.directory}.")
        manager = self._open()
        manager.wait_until_finished()
        try:
            return manager.restore(manager.latest_step(), args=ocp.args.Composite(**args))
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".:")
            raise RunError(f"cannot read the checkpoint in {self.directory}: {reason}.") from error

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(max_to_keep=1, create=True),
                item_handlers={
                    "state": ocp.StandardCheckpointHandler(),
                    "record": ocp.JsonCheckpointHandler(),
                },
            )
        return self._manager


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="."): x.shape for p, x in leaves}
