"""Trained weights of recurrent layers, as all formats are read into and written from.

A set of layers is a `Layers`: the name of a cell of `CELLS` and the parameters of every layer and direction, as
the cell's own `init` gives them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.cells import CELLS
from seqjax.errors import InputError, shown
from seqjax.types import Cell, Params


class Layers(NamedTuple):
    """Recurrent layers one above the other.

    Attributes:
      cell: a name of `CELLS`.
      params: of every layer, lowest first, a tuple with the parameters of each direction: one, or forward
        and backward.
    """

    cell: str
    params: tuple[tuple[Params, ...], ...]

    @property
    def hidden_size(self) -> int:
        return self.params[0][0]["u"].shape[0]

    @property
    def input_size(self) -> int:
        return self.params[0][0]["w"].shape[0]

    @property
    def directions(self) -> int:
        return len(self.params[0])

    def make_cells(self) -> tuple[Cell, ...]:
        """A cell for every layer."""
        return tuple(CELLS[self.cell](self.hidden_size) for _ in self.params)

    def of_stack(self) -> tuple[Params, ...]:
        """The parameters of `seqjax.stack(*layers.make_cells())`.

        Raises:
          InputError: if the layers run in both directions.
        """
        if self.directions != 1:
            raise InputError(
                "these layers run in both directions: give layers.params to seqjax.bidirectional,"
                " layer by layer, or load them into a seqjax.layers.Stack."
            )
        return tuple(directions[0] for directions in self.params)


def check_layers(layers: Layers, cells: tuple[str, ...], format_: str) -> None:
    """Raises InputError unless the format has such a cell and the parameters are that cell's."""
    if layers.cell not in cells:
        raise InputError(
            f"{format_} has no {layers.cell}: it has {', '.join(cells)}, of the cells of seqjax."
        )
    size = layers.input_size
    for number, directions in enumerate(layers.params):
        sizes = {np.shape(params.get("u", ()))[:1] for params in directions}
        if len(directions) != len(layers.params[0]) or sizes != {(layers.hidden_size,)}:
            raise InputError(
                f"layer {number} must have {len(layers.params[0])} directions of"
                f" {layers.hidden_size} units, as the first one, got {len(directions)} of"
                f" {sorted(sizes)}."
            )
        for params in directions:
            check_params(layers.cell, params, size, f"layer {number}")
        size = layers.hidden_size * len(directions)


def check_params(name: str, params: Params, input_size: int, where: str) -> None:
    """Raises InputError unless the arrays have the names and shapes of the cell's own."""
    hidden_size = np.shape(params["u"])[0] if "u" in params else 0
    if hidden_size < 1:
        raise InputError(f"{where} has no recurrent matrix u, got {sorted(params)}.")
    cell = CELLS[name](hidden_size)
    wanted = jax.eval_shape(lambda key: cell.init(key, input_size), jax.random.key(0))
    for key, leaf in wanted.items():
        found = np.shape(params.get(key, ()))
        if found != leaf.shape:
            raise InputError(f"{key} of {where} must have the shape {leaf.shape}, got {found}.")
    surplus = sorted(set(params) - set(wanted))
    if surplus:
        raise InputError(f"{where} has {surplus[0]}, which {name} has not: it is another cell.")


def as_numpy(name: str, value: Any) -> np.ndarray:
    """An array of any library, on the host: of torch, JAX or NumPy."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    array = np.asarray(value)
    if array.dtype.kind not in "fV":
        raise InputError(f"{name} must be an array of floats, got {array.dtype}.")
    return array


def take(arrays: Mapping[str, Any], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array by name, of a shape in which None stands for any size.

    Raises:
      InputError: if it is missing or of another shape.
    """
    if name not in arrays:
        raise InputError(f"there is no {name} among {shown(sorted(arrays))}.")
    array = as_numpy(name, arrays[name])
    fits = len(array.shape) == len(shape) and all(
        want in (None, size) for want, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise InputError(f"{name} must have the shape {wanted}, got {array.shape}.")
    return array


def reorder(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The blocks of the last axis in another order."""
    blocks = np.split(array, len(order), axis=-1)
    return np.concatenate([blocks[place] for place in order], axis=-1)


def on_device(params: Mapping[str, np.ndarray]) -> Params:
    """NumPy's arrays as JAX's."""
    return {name: jnp.asarray(value) for name, value in params.items()}
