"""The GRU as published: the reset gate acts before the recurrent product (Cho et al., 2014).

    rₜ = σ(Wᵣ xₜ + Uᵣ hₜ₋₁ + bᵣ)
    zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)
    nₜ = tanh(Wₙ xₜ + Uₙ (rₜ ⊙ hₜ₋₁) + bₙ)
    hₜ = (1 - zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁        yₜ = hₜ

The candidate needs a second, dependent product, which is why cuDNN and torch have `gru` instead.

Parameters: w [D, 3H] and b [3H] in the order r, z, n; u [H, 2H] for r, z; u_n [H, H].
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.gru import GRUGates, GRUState, update
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


def gru_reset_before(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a GRU (reset before the product).

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`.
      bias_init: draws b, called with the shape `[3, H]`, rows r, z, n.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, candidate_key, bias_key = jax.random.split(key, 4)
        draw_kernel = initializers.per_gate(kernel_init, 3)
        draw_recurrent = initializers.per_gate(recurrent_init, 2)
        return {
            "w": draw_kernel(kernel_key, (input_size, 3 * hidden_size), jnp.float32),
            "u": draw_recurrent(recurrent_key, (hidden_size, 2 * hidden_size), jnp.float32),
            "u_n": recurrent_init(candidate_key, (hidden_size, hidden_size), jnp.float32),
            "b": bias_init(bias_key, (3, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> GRUState:
        return GRUState(h=jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates, update)


def gates(params: Params, state: GRUState, x: Array) -> GRUGates:
    """The gate activations of one step, each `[..., H]`; n is the candidate state."""
    x_r, x_z, x_n = jnp.split(x @ params["w"] + params["b"], 3, axis=-1)
    h_r, h_z = jnp.split(state.h @ params["u"], 2, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + (r * state.h) @ params["u_n"])
    return GRUGates(r, z, n)


def step(params: Params, state: GRUState, x: Array) -> tuple[GRUState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update(params, state, gates(params, state, x))
