"""Networks that label, read from a run with nothing but its path. What strangers wrote is checked."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from experiments.common import cli
from seqjax.errors import InputError, RunError, check_not_negative
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training.modules import merge_model, split_model


class SavedNetwork(NamedTuple):
    """The best state of a network and what was saved with it, whatever that says."""

    checkpoints: Checkpoints
    record: dict[str, Any]
    where: str  # for sentences about it

    def loss(self) -> float:
        """What chose the best state; the lower the better. 0 where it is not known."""
        loss = self.record.get("best_loss")
        return loss if isinstance(loss, float) else 0.0

    def config(self, config_class: type) -> Any:
        """The config of the run, each field of its type and in its range."""
        saved = self.record.get("config")
        return config_class(**cli.checked(config_class, saved or {}, self.where))

    def strings(self, name: str) -> list[str]:
        """A list of strings of the record.

        Raises:
          InputError: if it is none.
        """
        value = self.record.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{self.where} has no list of strings {name!r}: another program's.")
        return value

    def choices(self, name: str, allowed: Mapping[str, Collection[str]]) -> dict[str, str]:
        """An object of the record with a value for each name, one of those allowed.

        Raises:
          InputError: if it is none.
        """
        value = self.record.get(name)
        if not isinstance(value, dict) or set(value) != set(allowed):
            raise InputError(f"{self.where} has no {name!r} with {', '.join(allowed)}.")
        for key, names in allowed.items():
            if value[key] not in names:
                raise InputError(
                    f"{key} in {self.where} must be one of {', '.join(names)}, got {value[key]!r}."
                )
        return value

    def size(self, name: str) -> int:
        """A size of the record, 0 where there is none."""
        value = self.record.get(name, 0)
        if not isinstance(value, int) or value > 2**16:
            raise InputError(f"{name} in {self.where} must be at most 65536, got {value!r:.60}.")
        return int(check_not_negative(f"{name} in {self.where}", value))

    def restore(self, make: Callable[[], nnx.Module]) -> Any:
        """The model that `make` describes, with the saved parameters; checked before it is made."""
        split = split_model(nnx.eval_shape(make))
        return merge_model(split, self.checkpoints.restore_params(split.params))


def best_network(path: str) -> SavedNetwork:
    """The network of a run with the best validation score.

    Args:
      path: the directory of the run, or of one network in it.

    Raises:
      InputError: if there is none.
    """
    found = []
    try:
        root = Path(path).expanduser()
        inside = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        places = [Checkpoints(place / "checkpoints" / "best") for place in [root, *inside]]
        found = [_saved(checkpoints) for checkpoints in places if checkpoints.exists()]
    except (OSError, ValueError) as error:  # too long, a zero byte
        if isinstance(error, InputError):
            raise
        raise InputError(f"checkpoint={path} is no path: {error}.") from error
    except RuntimeError as error:  # nobody's home
        if isinstance(error, RunError):
            raise
        raise InputError(f"checkpoint={path} is no path: {error}.") from error
    if not found:
        raise InputError(f"checkpoint={path} holds no trained network.")
    return min(found, key=lambda network: network.loss())


def _saved(checkpoints: Checkpoints) -> SavedNetwork:
    where = f"the checkpoint in {checkpoints.directory}"
    return SavedNetwork(checkpoints, checkpoints.read_record(), where)
