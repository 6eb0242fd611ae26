"""Cells of Haiku as cells of seqjax, and the other way round."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Params, State


def from_haiku(make: Callable[[], hk.RNNCore]) -> Cell:
    """A core of Haiku, to be unrolled by seqjax: `from_haiku(lambda: hk.LSTM(128))`.

    Its initial state has one batch axis at most; more are made one.
    """

    def run(x: Array, state: State) -> tuple[Array, State]:
        return make()(x, state)

    def start(batch_size: int | None) -> State:
        return make().initial_state(batch_size)

    core: Any = hk.without_apply_rng(hk.transform(run))
    first: Any = hk.without_apply_rng(hk.transform(start))

    def init(key: Array, input_size: int) -> Params:
        return core.init(key, jnp.zeros((1, input_size)), first.apply({}, 1))

    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        one = first.apply({}, None)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (*batch_shape, *a.shape)), one)

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        batch = x.shape[:-1]
        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[len(batch) :]), (x, state))
        y, new = core.apply(params, *flat)
        new, y = jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), (new, y))
        return new, y

    size = jax.eval_shape(lambda: step(init(jax.random.key(0), 1), initial_state(()), jnp.zeros(1)))
    return Cell(init, initial_state, step, size[1].shape[-1])


class HaikuCell(hk.RNNCore):
    """A cell of seqjax as a core of Haiku, for `hk.dynamic_unroll` and within `hk.transform`.

    Args:
      cell: any cell.
    """

    def __init__(self, cell: Cell, name: str | None = None):
        super().__init__(name)
        self.cell = cell

    def __call__(self, inputs: Array, prev_state: State) -> tuple[Array, State]:
        size = inputs.shape[-1]
        shapes = jax.eval_shape(lambda: self.cell.init(jax.random.key(0), size))
        leaves, tree = jax.tree.flatten(shapes)
        drawn: list[Any] = []

        def draw(place: int) -> Callable[..., Array]:
            def initializer(shape: tuple[int, ...], dtype: Any) -> Array:
                if not drawn:  # all parameters of a cell are drawn with one key
                    drawn.extend(jax.tree.leaves(self.cell.init(hk.next_rng_key(), size)))
                return drawn[place]

            return initializer

        names = [
            jax.tree_util.keystr(path, simple=True, separator=".")
            for path, _ in jax.tree.leaves_with_path(shapes)
        ]
        params = [
            hk.get_parameter(name, leaf.shape, leaf.dtype, init=draw(place))
            for place, (name, leaf) in enumerate(zip(names, leaves, strict=True))
        ]
        state, y = self.cell.step(jax.tree.unflatten(tree, params), prev_state, inputs)
        return y, state

    def initial_state(self, batch_size: int | None) -> State:
        return self.cell.initial_state(() if batch_size is None else (batch_size,))
