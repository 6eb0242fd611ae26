"""A cell as a Flax NNX layer. Batch-major, `[B, T, D]`, as Flax is."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.errors import InputError, shown
from seqjax.fast_scan.door import split_arrays
from seqjax.recurrence.misfit import misfit_of
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params, State, float32_or_wider


def check_makings(cell: Any, rngs: Any) -> None:
    """Raises InputError if a layer cannot be made of these."""
    if not isinstance(cell, Cell):
        raise InputError(misfit_of(cell, None, (1, 1), None))
    if not isinstance(rngs, nnx.Rngs):
        raise InputError(f"rngs must be flax.nnx.Rngs, as nnx.Rngs(0), got {shown(rngs)}.")


class RNN(nnx.Module):
    """Runs a cell over a batch of sequences; holds the cell's parameters.

    Attributes:
      input_size: D.
      cell: the cell, a static value.
      params: the cell's parameters, each leaf an `nnx.Param`.
    """

    def __init__(self, cell: Cell, input_size: int, *, rngs: nnx.Rngs):
        check_makings(cell, rngs)
        self.input_size = input_size
        self.cell = nnx.static(cell)
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), input_size)))

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def backward_features(self) -> np.ndarray:
        """Which features of the output read backward, bools `[H]`: none."""
        return np.zeros(self.output_size, bool)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step, each leaf `[B, H]`; float64 where the parameters are."""
        dtype = float32_or_wider(*split_arrays(self.arrays())[0])
        return jax.tree.map(
            lambda s: s.astype(dtype) if s.dtype == jnp.float32 else s,
            self.cell.initial_state((batch_size,)),
        )

    def __call__(
        self,
        xs: Array,
        state: State | None = None,
        *,
        lengths: Array | None = None,
        reverse: bool = False,
        key: Array | None = None,
    ) -> tuple[State, Array]:
        """`xs [B, T, D] -> (final_state, ys [B, T, output_size])`; arguments as `unroll`.

        Raises:
          InputError: as `unroll`, and if `xs` is of another shape.
        """
        if jnp.ndim(xs) != 3 or jnp.shape(xs)[-1] != self.input_size:
            raise InputError(
                f"this layer takes [B, T, {self.input_size}], batch first, got an array of shape"
                f" {jnp.shape(xs)}."
            )
        if lengths is not None and jnp.shape(lengths) != (jnp.shape(xs)[0],):
            raise InputError(
                f"lengths must be integers of shape {jnp.shape(xs)[:1]}, one for each row of"
                f" {jnp.shape(xs)}, got shape {jnp.shape(lengths)}."
            )
        xs = jnp.swapaxes(xs, 0, 1)
        state, ys = unroll(
            self.cell, self.arrays(), xs, state, lengths=lengths, reverse=reverse, key=key
        )
        return state, jnp.swapaxes(ys, 0, 1)

    def step(self, x: Array, state: State) -> tuple[State, Array]:
        """One step: `x [..., D] -> (state, y [..., output_size])`."""
        return self.cell.step(self.arrays(), state, x)

    def arrays(self) -> Params:
        """The cell's parameters as plain arrays."""
        return jax.tree.map(
            lambda p: p.get_value(), self.params, is_leaf=lambda p: isinstance(p, nnx.Param)
        )
