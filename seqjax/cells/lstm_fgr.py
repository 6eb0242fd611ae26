"""The LSTM with peepholes and full gate recurrence (Greff et al., 2017, variant FGR; Hochreiter and
Schmidhuber, 1997, had it in some of their experiments).

    iₜ = σ(Wᵢ xₜ + Uᵢ hₜ₋₁ + pᵢ ⊙ cₜ₋₁ + bᵢ + Rᵢᵢ iₜ₋₁ + Rᵢ_f fₜ₋₁ + Rᵢₒ oₜ₋₁)
    fₜ, oₜ the same way, oₜ with pₒ ⊙ cₜ;   gₜ, cₜ as in `lstm_variants.py`
    hₜ = oₜ ⊙ tanh(cₜ)                yₜ = hₜ

The gates of the step before are part of the state: zeros before the first.

Parameters: w [D, 4H], u [H, 4H], b [4H], gates in the order i, f, g, o; p_i, p_f, p_o [H];
r [3H, 3H], from the old (i, f, o) to the new, whose nine blocks are the R above.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.lstm import LSTMGates
from seqjax.cells.lstm_variants import lstm_variant
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class FGRState(NamedTuple):
    h: Array  # [..., H]
    c: Array  # [..., H]
    gates: Array  # [..., 3H], i, f, o of the step before


def lstm_fgr(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
    peephole_init: Initializer = initializers.normal(0.1),
) -> Cell:
    """Builds an LSTM with full gate recurrence.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`, and the nine blocks of r.
      bias_init: called with the shape `[4, H]`, rows i, f, g, o.
      peephole_init: draws each gate's `[H]`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)
    vanilla = lstm_variant(
        hidden_size,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        bias_init=bias_init,
        peephole_init=peephole_init,
    )

    def init(key: Array, input_size: int) -> Params:
        blocks = [
            [recurrent_init(k, (hidden_size, hidden_size), jnp.float32) for k in row]
            for row in jax.random.split(jax.random.fold_in(key, 9), (3, 3))
        ]
        return {**vanilla.init(key, input_size), "r": jnp.block(blocks)}

    def initial_state(batch_shape: tuple[int, ...] = ()) -> FGRState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return FGRState(zeros, zeros, jnp.zeros((*batch_shape, 3 * hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates)


def gates(params: Params, state: FGRState, x: Array) -> LSTMGates:
    """The gate activations of one step, each `[..., H]`."""
    return _gates_and_state(params, state, x)[0]


def step(params: Params, state: FGRState, x: Array) -> tuple[FGRState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    _, new_state = _gates_and_state(params, state, x)
    return new_state, new_state.h


def _gates_and_state(params: Params, state: FGRState, x: Array) -> tuple[LSTMGates, FGRState]:
    z = x @ params["w"] + state.h @ params["u"] + params["b"]
    z_i, z_f, z_g, z_o = jnp.split(z, 4, axis=-1)
    r_i, r_f, r_o = jnp.split(state.gates @ params["r"], 3, axis=-1)
    i = jax.nn.sigmoid(z_i + params["p_i"] * state.c + r_i)
    f = jax.nn.sigmoid(z_f + params["p_f"] * state.c + r_f)
    g = jnp.tanh(z_g)
    c = f * state.c + i * g
    o = jax.nn.sigmoid(z_o + params["p_o"] * c + r_o)
    h = o * jnp.tanh(c)
    return LSTMGates(i, f, g, o), FGRState(h, c, jnp.concatenate([i, f, o], axis=-1))
