"""The hierarchically gated recurrent unit (Qin, Yang and Zhong, 2023, eq. 1 to 9).

    fₜ = γ + (1 - γ) ⊙ σ(W_f xₜ + b_f)
    cₜ = SiLU(W_re xₜ + b_re) + i SiLU(W_im xₜ + b_im)
    hₜ = fₜ ⊙ exp(iθ) ⊙ hₜ₋₁ + (1 - fₜ) ⊙ cₜ
    yₜ = σ(W_g xₜ + b_g) ⊙ [Re hₜ, Im hₜ]

over complex h. The lower bound γ of the forget gate grows from layer to layer in the paper, so that upper
layers remember for longer; here it is an argument. Their normalisation and output matrix are left to what
reads y. θ is trained.

The state is kept as its real and its imaginary part. Parameters: w [D, 5H] and b [5H] in the order f, re, im,
g (of size 2H), and theta [H].
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.lru import ComplexState
from seqjax.errors import check_fraction, check_positive
from seqjax.types import Array, Cell, Initializer, Params


def hgrn(
    hidden_size: int,
    *,
    lower_bound: float = 0.0,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds an HGRN layer.

    Args:
      hidden_size: H, complex units; the output has 2H numbers.
      lower_bound: γ, in [0, 1).
      kernel_init: draws each gate's `[D, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer, or lower_bound lies outside.
    """
    check_positive("hidden_size", hidden_size)
    check_fraction("lower_bound", lower_bound)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, phase_key = jax.random.split(key)
        draw = initializers.per_gate(kernel_init, 5)
        return {
            "w": draw(kernel_key, (input_size, 5 * hidden_size), jnp.float32),
            "b": jnp.zeros(5 * hidden_size, jnp.float32),
            "theta": jax.random.uniform(phase_key, (hidden_size,), jnp.float32, -jnp.pi, jnp.pi),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> ComplexState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return ComplexState(zeros, zeros)

    def step(params: Params, state: ComplexState, x: Array) -> tuple[ComplexState, Array]:
        z = x @ params["w"] + params["b"]
        f, re, im, g = jnp.split(z, [hidden_size, 2 * hidden_size, 3 * hidden_size], axis=-1)
        f = lower_bound + (1 - lower_bound) * jax.nn.sigmoid(f)
        turn_re, turn_im = f * jnp.cos(params["theta"]), f * jnp.sin(params["theta"])
        new = ComplexState(
            turn_re * state.re - turn_im * state.im + (1 - f) * jax.nn.silu(re),
            turn_im * state.re + turn_re * state.im + (1 - f) * jax.nn.silu(im),
        )
        return new, jax.nn.sigmoid(g) * jnp.concatenate(new, axis=-1)

    return Cell(init, initial_state, step, 2 * hidden_size)
