"""The LSTM before it had a forget gate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax import init as initializers
from seqjax.cells.lstm import LSTMState
from seqjax.types import Array, Cell, Params


def lstm_2000(cell: Cell, *, forget_gate: bool) -> Cell:
    """An `lstm` with the squashing functions of 1997 and 2000, with or without its forget gate.

        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ g(netₜ)     hₜ = oₜ ⊙ h(cₜ)      g = 4σ - 2 = 2 tanh(·/2), h = 2σ - 1

    Without the gate f is 1, whatever it reads (Gers, Schmidhuber and Cummins, 2000).
    """

    def step(params: Params, state: LSTMState, x: Array) -> tuple[LSTMState, Array]:
        z = x @ params["w"] + state.h @ params["u"] + params["b"]
        z_i, z_f, z_g, z_o = jnp.split(z, 4, axis=-1)
        kept = jax.nn.sigmoid(z_f) * state.c if forget_gate else state.c
        c = kept + jax.nn.sigmoid(z_i) * 2 * jnp.tanh(z_g / 2)
        h = jax.nn.sigmoid(z_o) * jnp.tanh(c / 2)
        return LSTMState(h, c), h

    return cell._replace(step=step)


class BlockState(NamedTuple):
    units: Array  # [..., blocks · (size + 2)], outputs of cells, input gates, output gates
    c: Array  # [..., blocks · size]


def lstm_1997(blocks: int, size: int, input_gate_bias: Array) -> Cell:
    """The LSTM of Hochreiter and Schmidhuber (1997): memory blocks whose cells share their gates.

        cₜ = cₜ₋₁ + iₜ ⊙ g(netₜ)        yₜ = oₜ ⊙ h(cₜ)        g = 4σ - 2 = 2 tanh(·/2), h = 2σ - 1

    Every gate and cell reads the inputs and all cells and gates of the step before. The gradient is
    truncated as theirs is: none flows through what was read from the step before, so that errors
    travel back in time inside the cells alone.

    Args:
      blocks: memory blocks.
      size: cells in each.
      input_gate_bias: `[blocks]`, initial values; all other weights and biases are U(-.1, .1).
    """
    cells = blocks * size
    units = cells + 2 * blocks

    def init(key: Array, input_size: int) -> Params:
        w_key, u_key, b_key = jax.random.split(key, 3)
        draw = initializers.uniform(0.1)
        return {
            "w": draw(w_key, (input_size, units)),
            "u": draw(u_key, (units, units)),
            "b": draw(b_key, (units,)).at[cells : cells + blocks].set(input_gate_bias),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> BlockState:
        return BlockState(jnp.zeros((*batch_shape, units)), jnp.zeros((*batch_shape, cells)))

    def step(params: Params, state: BlockState, x: Array) -> tuple[BlockState, Array]:
        z = x @ params["w"] + lax.stop_gradient(state.units) @ params["u"] + params["b"]
        opened = jax.nn.sigmoid(z[..., cells:])
        i, o = jnp.split(jnp.repeat(opened, size, axis=-1), 2, axis=-1)
        c = state.c + i * 2 * jnp.tanh(z[..., :cells] / 2)
        y = o * jnp.tanh(c / 2)
        return BlockState(jnp.concatenate([y, opened], axis=-1), c), y

    return Cell(init, initial_state, step, cells)
