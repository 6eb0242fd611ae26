"""Cells of Flax, NNX and linen, as cells of seqjax, and the other way round."""

from collections.abc import Callable
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.types import Array, Cell, Params, State


def from_nnx(make: Callable[[int, nnx.Rngs], Any]) -> Cell:
    """A cell of Flax NNX, to be unrolled by seqjax.

    Args:
      make: `(input_size, rngs) -> cell`, as `lambda size, rngs: nnx.LSTMCell(size, 128, rngs=rngs)`.

    Returns:
      A cell whose parameters are a nested dict and whose state is NNX's carry.
    """

    @cache
    def graphdef(input_size: int) -> Any:
        return nnx.split(nnx.eval_shape(lambda: make(input_size, nnx.Rngs(0))), nnx.Param, ...)

    def init(key: Array, input_size: int) -> Params:
        return nnx.to_pure_dict(nnx.state(make(input_size, nnx.Rngs(key)), nnx.Param))

    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        return _zeros(lambda: make(1, nnx.Rngs(0)).initialize_carry((*batch_shape, 1), nnx.Rngs(0)))

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        structure, _, others = graphdef(x.shape[-1])
        others = jax.tree.map(_empty, others)
        return nnx.merge(structure, params, nnx.to_pure_dict(others))(state, x)

    return Cell(init, initial_state, step, _output_size(init, initial_state, step))


def from_linen(cell: nn.RNNCellBase) -> Cell:
    """A cell of Flax linen, to be unrolled by seqjax: `from_linen(nn.LSTMCell(128))`."""

    def init(key: Array, input_size: int) -> Params:
        carry = cell.initialize_carry(jax.random.key(0), (input_size,))
        return cell.init(key, carry, jnp.zeros(input_size))["params"]

    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        return _zeros(lambda: cell.initialize_carry(jax.random.key(0), (*batch_shape, 1)))

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        applied: Any = cell.apply({"params": params}, state, x)
        return applied

    return Cell(init, initial_state, step, _output_size(init, initial_state, step))


class NNXCell(nnx.RNNCellBase):
    """A cell of seqjax for `flax.nnx.RNN`; `seqjax.layers.RNN` does the same, and faster.

    Args:
      cell: any cell.
      input_size: D.
      rngs: parameters are drawn from `rngs.params`.
    """

    def __init__(self, cell: Cell, input_size: int, *, rngs: nnx.Rngs):
        self.cell = nnx.static(cell)
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), input_size)))

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> State:
        return self.cell.initial_state(tuple(input_shape[:-1]))

    def __call__(self, carry: State, inputs: Array) -> tuple[State, Array]:
        params = jax.tree.map(
            lambda p: p.get_value(), self.params, is_leaf=lambda p: isinstance(p, nnx.Param)
        )
        return self.cell.step(params, carry, inputs)

    @property
    def num_feature_axes(self) -> int:
        return 1


class LinenCell(nn.RNNCellBase):
    """A cell of seqjax for `flax.linen.RNN`. The parameters stand under the name "cell".

    Attributes:
      cell: any cell.
    """

    cell: Cell

    @nn.compact
    def __call__(self, carry: State, inputs: Array) -> tuple[State, Array]:
        params = self.param("cell", lambda key: self.cell.init(key, inputs.shape[-1]))
        return self.cell.step(params, carry, inputs)

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> State:
        return self.cell.initial_state(tuple(input_shape[:-1]))

    @property
    def num_feature_axes(self) -> int:
        return 1


def _zeros(make: Callable[[], State]) -> State:
    """Zeros of the shapes of a carry: seqjax's cells start from the same state every time."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(make))


def _empty(a: Any) -> Any:
    """A stand-in for what evaluation does not read: the key of a random stream, a count."""
    if not hasattr(a, "dtype"):
        return a
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    return jnp.zeros(a.shape, a.dtype)


def _output_size(init: Callable, initial_state: Callable, step: Callable) -> int:
    def one_step() -> Array:
        params = init(jax.random.key(0), 1)
        return step(params, initial_state(()), jnp.zeros(1))[1]

    return jax.eval_shape(one_step).shape[-1]
