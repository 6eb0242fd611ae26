"""The matrix products of a recurrent layer and hardly anything else.

Their time is about a lower bound for every way of training that makes the same products by XLA.
"""

from functools import reduce

import jax.numpy as jnp

from seqjax.cells import CELLS
from seqjax.types import Array, Cell, Params

# Cells, and the number of gates whose products they make as one.
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def products_cell(name: str, hidden_size: int) -> Cell:
    """A linear cell with the products of one of GATES, of the same shapes.

        hₜ = Σ_g (W_g xₜ + U_g hₜ₋₁) / G,  g = 1 ... G

    Its parameters are w `[D, G H]` and u `[H, G H]`. Its gradients take the same products as the
    named cell's, with one cotangent for all gates in place of one for each.
    """
    gates, cell = GATES[name], CELLS[name](hidden_size)

    def init(key: Array, input_size: int) -> Params:
        params = cell.init(key, input_size)
        return {"w": params["w"], "u": params["u"]}

    def initial_state(batch_shape: tuple[int, ...] = ()) -> Array:
        return jnp.zeros((*batch_shape, hidden_size))

    def step(params: Params, h: Array, x: Array) -> tuple[Array, Array]:
        z = x @ params["w"] + h @ params["u"]
        h = reduce(jnp.add, jnp.split(z, gates, axis=-1)) / gates
        return h, h

    return Cell(init, initial_state, step, hidden_size)
