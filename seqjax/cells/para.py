"""The ParaGRU and the ParaLSTM of ParaRNN (Danieli et al., 2025): gates that look at their own unit alone.

The GRU

    zₜ = σ(W_z xₜ + a_z ⊙ hₜ₋₁ + b_z)        rₜ = σ(Wᵣ xₜ + aᵣ ⊙ hₜ₋₁ + bᵣ)
    nₜ = tanh(Wₙ xₜ + aₙ ⊙ rₜ ⊙ hₜ₋₁ + bₙ)
    hₜ = (1 - zₜ) ⊙ hₜ₋₁ + zₜ ⊙ nₜ        yₜ = hₜ

and the LSTM with coupled gates

    fₜ = σ(W_f xₜ + a_f ⊙ hₜ₋₁ + p_f ⊙ cₜ₋₁ + b_f)
    gₜ = tanh(W_g xₜ + a_g ⊙ hₜ₋₁ + b_g)
    cₜ = fₜ ⊙ cₜ₋₁ + (1 - fₜ) ⊙ gₜ
    oₜ = σ(Wₒ xₜ + aₒ ⊙ hₜ₋₁ + pₒ ⊙ cₜ + bₒ)
    hₜ = oₜ ⊙ tanh(cₜ)        yₜ = hₜ

The gates are not linear, but every unit by itself: Newton's method finds all steps in a few iterations
(`parallel="newton"`). The paper's input matrices may be block-diagonal.

Parameters: w [D, 3H], a [3, H], b [3H] in the order z, r, n; or f, g, o, and p [2, H] in the order f, o.
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.gru import GRUGates, GRUState
from seqjax.cells.lstm import LSTMState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


def para_gru(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a ParaGRU.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      bias_init: draws b, called with the shape `[3, H]`, rows z, r, n.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def initial_state(batch_shape: tuple[int, ...] = ()) -> GRUState:
        return GRUState(jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    init = _init(hidden_size, kernel_init, bias_init, peepholes=False)
    return Cell(init, initial_state, step_gru, hidden_size, gates_gru, update_gru)


def para_lstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a ParaLSTM.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      bias_init: draws b, called with the shape `[3, H]`, rows f, g, o.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def initial_state(batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return LSTMState(zeros, zeros)

    init = _init(hidden_size, kernel_init, bias_init, peepholes=True)
    return Cell(init, initial_state, step_lstm, hidden_size)


def gates_gru(params: Params, state: GRUState, x: Array) -> GRUGates:
    """The gates and the candidate of one step, each `[..., H]`."""
    z, r, n = jnp.split(x @ params["w"] + params["b"], 3, axis=-1)
    a_z, a_r, a_n = params["a"]
    z = jax.nn.sigmoid(z + a_z * state.h)
    r = jax.nn.sigmoid(r + a_r * state.h)
    return GRUGates(r, z, jnp.tanh(n + a_n * (r * state.h)))


def update_gru(params: Params, state: GRUState, gates: GRUGates) -> tuple[GRUState, Array]:
    """What the gates make of the state: `-> (state, y [..., H])`."""
    h = (1 - gates.z) * state.h + gates.z * gates.n
    return GRUState(h), h


def step_gru(params: Params, state: GRUState, x: Array) -> tuple[GRUState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update_gru(params, state, gates_gru(params, state, x))


def step_lstm(params: Params, state: LSTMState, x: Array) -> tuple[LSTMState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    f, g, o = jnp.split(x @ params["w"] + params["b"], 3, axis=-1)
    a_f, a_g, a_o = params["a"]
    p_f, p_o = params["p"]
    f = jax.nn.sigmoid(f + a_f * state.h + p_f * state.c)
    c = f * state.c + (1 - f) * jnp.tanh(g + a_g * state.h)
    h = jax.nn.sigmoid(o + a_o * state.h + p_o * c) * jnp.tanh(c)
    return LSTMState(h, c), h


def _init(
    hidden_size: int, kernel_init: Initializer, bias_init: Initializer, *, peepholes: bool
) -> Initializer:
    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, bias_key, peephole_key = jax.random.split(key, 4)
        draw = initializers.per_gate(kernel_init, 3)
        limit = 1 / hidden_size**0.5
        shape = (3, hidden_size)
        params = {
            "w": draw(kernel_key, (input_size, 3 * hidden_size), jnp.float32),
            "a": jax.random.uniform(recurrent_key, shape, jnp.float32, -limit, limit),
            "b": bias_init(bias_key, shape, jnp.float32).reshape(-1),
        }
        if peepholes:
            params["p"] = jax.random.uniform(
                peephole_key, (2, hidden_size), jnp.float32, -limit, limit
            )
        return params

    return init
