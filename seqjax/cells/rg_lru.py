"""The real-gated linear recurrent unit of Griffin and RecurrentGemma (De et al., 2024, eq. 1 to 4).

    uₜ = W_u xₜ + b_u
    rₜ = σ(Wᵣ uₜ + bᵣ)        iₜ = σ(Wᵢ uₜ + bᵢ)
    aₜ = exp(-8 softplus(Λ) ⊙ rₜ)
    hₜ = aₜ ⊙ hₜ₋₁ + √(1 - aₜ²) ⊙ (iₜ ⊙ uₜ)        yₜ = hₜ

The paper's unit reads u, of the size of h; here u is made of x, as the linear layer below it does there. Its
gates' matrices are block-diagonal there and full here. a at rₜ = 1 starts uniformly between .9 and .999.

Parameters: w_u [D, H], b_u [H], w [H, 2H] and b [2H] in the order r, i, and decay [H], which is Λ.
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.min_gru import MinState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params

SHARPNESS = 8.0


def rg_lru(hidden_size: int, *, kernel_init: Initializer = initializers.lecun_normal()) -> Cell:
    """Builds an RG-LRU.

    Args:
      hidden_size: H.
      kernel_init: draws w_u and each gate's `[H, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        input_key, gate_key, decay_key = jax.random.split(key, 3)
        start = jax.random.uniform(decay_key, (hidden_size,), jnp.float32, 0.9, 0.999)
        draw = initializers.per_gate(kernel_init, 2)
        return {
            "w_u": kernel_init(input_key, (input_size, hidden_size), jnp.float32),
            "b_u": jnp.zeros(hidden_size, jnp.float32),
            "w": draw(gate_key, (hidden_size, 2 * hidden_size), jnp.float32),
            "b": jnp.zeros(2 * hidden_size, jnp.float32),
            # softplus(Λ) = -ln(a) / 8
            "decay": jnp.log(jnp.expm1(-jnp.log(start) / SHARPNESS)),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> MinState:
        return MinState(jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: MinState, x: Array) -> tuple[MinState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    u = x @ params["w_u"] + params["b_u"]
    r, i = jnp.split(jax.nn.sigmoid(u @ params["w"] + params["b"]), 2, axis=-1)
    log_a = -SHARPNESS * jax.nn.softplus(params["decay"]) * r
    square = -jnp.expm1(2 * log_a)
    # The inner `where` keeps the root's infinite slope at zero out of the gradient.
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    h = jnp.exp(log_a) * state.h + root * (i * u)
    return MinState(h), h
