"""The GRU that resets after the recurrent product, as cuDNN, torch and Flax compute it.

    rₜ = σ(Wᵣ xₜ + Uᵣ hₜ₋₁ + bᵣ)
    zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)
    nₜ = tanh(Wₙ xₜ + bₙ + rₜ ⊙ (Uₙ hₜ₋₁ + b_hn))
    hₜ = (1 - zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁        yₜ = hₜ

After Cho et al. (2014), with the reset moved behind the product so that one product serves all
three gates (Chung et al., 2014, and cuDNN). The published form is `gru_reset_before`.

Parameters: w [D, 3H], u [H, 3H], b [3H] in the order r, z, n, and b_hn [H], which the reset
gate scales and which therefore cannot be folded into b.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class GRUState(NamedTuple):
    h: Array  # [..., H]


class GRUGates(NamedTuple):
    r: Array  # [..., H]
    z: Array  # [..., H]
    n: Array  # [..., H]


def gru(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a GRU (reset after the product).

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`.
      bias_init: draws b, called with the shape `[3, H]`, rows r, z, n; b_hn starts at zero.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        draw_kernel = initializers.per_gate(kernel_init, 3)
        draw_recurrent = initializers.per_gate(recurrent_init, 3)
        return {
            "w": draw_kernel(kernel_key, (input_size, 3 * hidden_size), jnp.float32),
            "u": draw_recurrent(recurrent_key, (hidden_size, 3 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (3, hidden_size), jnp.float32).reshape(-1),
            "b_hn": jnp.zeros(hidden_size, jnp.float32),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> GRUState:
        return GRUState(h=jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates, update)


def gates(params: Params, state: GRUState, x: Array) -> GRUGates:
    """The gate activations of one step, each `[..., H]`; n is the candidate state."""
    x_r, x_z, x_n = jnp.split(x @ params["w"] + params["b"], 3, axis=-1)
    h_r, h_z, h_n = jnp.split(state.h @ params["u"], 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * (h_n + params["b_hn"]))
    return GRUGates(r, z, n)


def update(params: Params, state: GRUState, gates: GRUGates) -> tuple[GRUState, Array]:
    """What the gates make of the state: `-> (state, y [..., H])`."""
    _, z, n = gates
    h = (1 - z) * n + z * state.h
    return GRUState(h), h


def step(params: Params, state: GRUState, x: Array) -> tuple[GRUState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update(params, state, gates(params, state, x))
