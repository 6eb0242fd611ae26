"""The sLSTM of xLSTM, an LSTM with exponential gates (Beck et al., 2024, eq. 8 to 18).

    zₜ = tanh(z̃ₜ)        oₜ = σ(õₜ)        [ĩₜ f̃ₜ z̃ₜ õₜ] = W xₜ + U hₜ₋₁ + b
    mₜ = max(ln σ(f̃ₜ) + mₜ₋₁, ĩₜ)
    iₜ = exp(ĩₜ - mₜ)        fₜ = exp(ln σ(f̃ₜ) + mₜ₋₁ - mₜ)
    cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ zₜ        nₜ = fₜ ⊙ nₜ₋₁ + iₜ
    hₜ = oₜ ⊙ cₜ / nₜ        yₜ = hₜ

The paper's recurrent matrix is block-diagonal, a block for each head; here it is one block. Its forget gate is σ
or exp; here σ. A state of zeros stands for n = 0: where n is 0 nothing is kept, so that there mₜ = ĩₜ, and the
first step makes n = 1.

Parameters: w [D, 4H], u [H, 4H], b [4H] in the order i, f, z, o.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class SLSTMState(NamedTuple):
    h: Array  # [..., H]
    c: Array  # [..., H]
    n: Array  # [..., H]
    m: Array  # [..., H]


def slstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
) -> Cell:
    """Builds an sLSTM.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`.
      bias_init: draws the biases, called with the shape `[4, H]`, rows i, f, z, o.

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

    def initial_state(batch_shape: tuple[int, ...] = ()) -> SLSTMState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return SLSTMState(zeros, zeros, zeros, zeros)

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: SLSTMState, x: Array) -> tuple[SLSTMState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    i, f, z, o = jnp.split(x @ params["w"] + state.h @ params["u"] + params["b"], 4, axis=-1)
    f = jax.nn.log_sigmoid(f)
    kept = state.n != 0  # m of an empty memory would only make i and n underflow
    m = jnp.where(kept, jnp.maximum(f + state.m, i), i)
    i, f = jnp.exp(i - m), jnp.exp(jnp.where(kept, f + state.m - m, 0))
    c = f * state.c + i * jnp.tanh(z)
    n = f * state.n + i
    h = jax.nn.sigmoid(o) * c / n
    return SLSTMState(h, c, n, m), h
