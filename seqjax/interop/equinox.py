"""Cells of Equinox as cells of seqjax, and the other way round."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Params, State


def from_equinox(make: Callable[[int, Array], Any], hidden_size: int) -> Cell:
    """A cell of Equinox, `LSTMCell` or `GRUCell`, to be unrolled by seqjax.

    Args:
      make: `(input_size, key) -> cell`, as `lambda size, key: eqx.nn.LSTMCell(size, 128, key=key)`.
      hidden_size: H.

    Returns:
      A cell whose parameters are the module, and whose state is a tuple (h, c) or (h,).
    """
    has_memory = isinstance(jax.eval_shape(lambda: make(1, jax.random.key(0))), eqx.nn.LSTMCell)

    def init(key: Array, input_size: int) -> Params:
        return make(input_size, key)

    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return (zeros, zeros) if has_memory else (zeros,)

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        def one_row(x: Array, state: State) -> State:
            return params(x, state) if has_memory else (params(x, state[0]),)

        for _ in range(x.ndim - 1):
            one_row = jax.vmap(one_row)
        state = one_row(x, state)
        return state, state[0]

    return Cell(init, initial_state, step, hidden_size)


class EquinoxCell(eqx.Module):
    """A cell of seqjax as an Equinox module: `state, y = module(state, x)`.

    Args:
      cell: any cell.
      input_size: D.
      key: draws the parameters.
    """

    params: Params
    cell: Cell = eqx.field(static=True)

    def __init__(self, cell: Cell, input_size: int, *, key: Array):
        self.params = cell.init(key, input_size)
        self.cell = cell

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        return self.cell.initial_state(batch_shape)

    def __call__(self, state: State, x: Array) -> tuple[State, Array]:
        return self.cell.step(self.params, state, x)
