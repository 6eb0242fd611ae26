"""The LSTM with a forget gate, without peepholes (Hochreiter and Schmidhuber, 1997;
Gers, Schmidhuber and Cummins, 2000).

    iₜ = σ(Wᵢ xₜ + Uᵢ hₜ₋₁ + bᵢ)
    fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)
    gₜ = tanh(W_g xₜ + U_g hₜ₋₁ + b_g)
    oₜ = σ(Wₒ xₜ + Uₒ hₜ₋₁ + bₒ)
    cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
    hₜ = oₜ ⊙ tanh(cₜ)                yₜ = hₜ

Parameters: w [D, 4H], u [H, 4H], b [4H], the gates side by side in the order i, f, g, o (as
torch and cuDNN). One bias: the sum of two has the same gradient in both. The forget bias is an
initial value in b, never a constant in the step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class LSTMState(NamedTuple):
    h: Array  # [..., H]
    c: Array  # [..., H]


class LSTMGates(NamedTuple):
    i: Array  # [..., H]
    f: Array  # [..., H]
    g: Array  # [..., H]
    o: Array  # [..., H]


def lstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
) -> Cell:
    """Builds an LSTM.

    By default w is LeCun normal, each gate's u orthogonal, and the biases are 0, but for the forget gate's,
    which are 1.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`.
      bias_init: draws the biases, called with the shape `[4, H]`, rows i, f, g, o:
        `init.forget_bias(3.0)`, `init.chrono(200)`, `init.uniform(0.1)`, ...

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        draw_kernel = initializers.per_gate(kernel_init, 4)
        draw_recurrent = initializers.per_gate(recurrent_init, 4)
        return {
            "w": draw_kernel(kernel_key, (input_size, 4 * hidden_size), jnp.float32),
            "u": draw_recurrent(recurrent_key, (hidden_size, 4 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (4, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return LSTMState(h=zeros, c=zeros)

    return Cell(init, initial_state, step, hidden_size, gates, update)


def gates(params: Params, state: LSTMState, x: Array) -> LSTMGates:
    """The gate activations of one step, each `[..., H]`."""
    z = x @ params["w"] + state.h @ params["u"] + params["b"]
    i, f, g, o = jnp.split(z, 4, axis=-1)
    return LSTMGates(jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o))


def update(params: Params, state: LSTMState, gates: LSTMGates) -> tuple[LSTMState, Array]:
    """What the gates make of the state: `-> (state, y [..., H])`."""
    i, f, g, o = gates
    c = f * state.c + i * g
    h = o * jnp.tanh(c)
    return LSTMState(h, c), h


def step(params: Params, state: LSTMState, x: Array) -> tuple[LSTMState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update(params, state, gates(params, state, x))
