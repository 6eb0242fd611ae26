"""The quasi-recurrent network with fo-pooling and windows of two steps (Bradbury et al., 2017, eq. 3 to 5).

    zₜ = tanh(W_z xₜ + V_z xₜ₋₁ + b_z)
    fₜ = σ(W_f xₜ + V_f xₜ₋₁ + b_f)        oₜ = σ(Wₒ xₜ + Vₒ xₜ₋₁ + bₒ)
    cₜ = fₜ ⊙ cₜ₋₁ + (1 - fₜ) ⊙ zₜ
    yₜ = oₜ ⊙ cₜ

The convolution's older half V xₜ₋₁ is part of the state, instead of xₜ₋₁, whose size a cell does not know. That
part depends on x alone, and c is affine in itself given that part.

Parameters: w, v [D, 3H] and b [3H] in the order z, f, o.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class QRNNState(NamedTuple):
    past: Array  # [..., 3H], V xₜ₋₁
    c: Array  # [..., H]


def qrnn(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a QRNN layer.

    Args:
      hidden_size: H.
      kernel_init: draws each `[D, H]` of w and v.
      bias_init: draws b, called with the shape `[3, H]`, rows z, f, o.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        now_key, past_key, bias_key = jax.random.split(key, 3)
        draw = initializers.per_gate(kernel_init, 3)
        return {
            "w": draw(now_key, (input_size, 3 * hidden_size), jnp.float32),
            "v": draw(past_key, (input_size, 3 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (3, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> QRNNState:
        return QRNNState(
            jnp.zeros((*batch_shape, 3 * hidden_size), jnp.float32),
            jnp.zeros((*batch_shape, hidden_size), jnp.float32),
        )

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: QRNNState, x: Array) -> tuple[QRNNState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    z, f, o = jnp.split(x @ params["w"] + state.past + params["b"], 3, axis=-1)
    f = jax.nn.sigmoid(f)
    c = f * state.c + (1 - f) * jnp.tanh(z)
    return QRNNState(x @ params["v"], c), jax.nn.sigmoid(o) * c
