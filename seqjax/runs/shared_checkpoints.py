"""Checkpoints of a run of several processes: the first one keeps them, and tells the others."""

from pathlib import Path
from typing import Any, Generic

import jax

from seqjax.devices.processes import is_first, several, told, told_arrays, whole
from seqjax.runs.checkpoint import Checkpoints, State
from seqjax.types import Params


class SharedCheckpoints(Generic[State]):
    """`Checkpoints` of which each method is called by all processes, at the same place.

    What is saved is the whole state, whatever devices its parts were on: as many processes as one
    likes go on with it. Only the first one needs the directory.

    Args:
      directory: as of `Checkpoints`.
    """

    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self._kept = Checkpoints(directory)

    def save(self, state: State, record: dict[str, Any]) -> None:
        """As `Checkpoints.save`; what cannot be written, all learn of."""
        state = whole(state)
        told(lambda: self._kept.save(state, record))

    def exists(self) -> bool:
        """As `Checkpoints.exists`."""
        return told(self._kept.exists)

    def drop_after(self, step: int) -> None:
        """As `Checkpoints.drop_after`."""
        told(lambda: self._kept.drop_after(step))

    def read_record(self) -> dict[str, Any]:
        """As `Checkpoints.read_record`."""
        return told(self._kept.read_record)

    def restore(self, like: State) -> State:
        """As `Checkpoints.restore`, each array placed as that of `like`."""
        return told_arrays(lambda: self._kept.restore(_shapes(like)), like)

    def restore_params(self, like: Params) -> Params:
        """As `Checkpoints.restore_params`, each array placed as that of `like`."""
        return told_arrays(lambda: self._kept.restore_params(_shapes(like)), like)

    def close(self) -> None:
        """As `Checkpoints.close`."""
        if is_first():
            self._kept.close()


def checkpoints(directory: Path) -> "Checkpoints | SharedCheckpoints":
    """The checkpoints of a directory, for a run of one process or of several."""
    return SharedCheckpoints(directory) if several() else Checkpoints(directory)


def _shapes(tree: Any) -> Any:
    """... without the devices, of which other processes have some."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
