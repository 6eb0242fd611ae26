"""The linear recurrent unit (Orvieto et al., 2023, "Resurrecting recurrent neural networks for long sequences").

    hₜ = λ ⊙ hₜ₋₁ + γ ⊙ (B xₜ)        λ = exp(-exp(ν) + i exp(θ))        (their eq. 4 to 7)
    yₜ = Re(C hₜ) + D xₜ

h, λ, B and C are complex. |λ| < 1 whatever ν is, and starts uniformly on the ring between two radii; γ starts
as √(1 - |λ|²), with which h has the scale of B x.

The state is kept as its real and its imaginary part. Parameters: nu, theta, log_gamma [H], b_re, b_im [D, H],
c_re, c_im [H, H], d [D, H].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive, check_rate
from seqjax.types import Array, Cell, Initializer, Params


class ComplexState(NamedTuple):
    re: Array  # [..., H]
    im: Array  # [..., H]


def lru(
    hidden_size: int,
    *,
    min_radius: float = 0.4,
    max_radius: float = 0.99,
    max_phase: float = 2 * jnp.pi,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds an LRU.

    Args:
      hidden_size: H, complex units, and real outputs.
      min_radius: |λ| starts between these radii, 0 <= min_radius < max_radius < 1; the nearer to 1, the
        longer the memory.
      max_radius: see above.
      max_phase: the angle of λ starts in (0, max_phase).
      kernel_init: draws B's and C's real and imaginary parts, which are divided by √2, and D.

    Raises:
      InputError: if hidden_size is not a positive integer, the radii do not fit, or max_phase is not above 0.
    """
    check_positive("hidden_size", hidden_size)
    check_rate("max_phase", max_phase)
    if not 0 <= min_radius < max_radius < 1:
        raise InputError(
            f"0 <= min_radius < max_radius < 1 must hold, got {min_radius} and {max_radius}."
        )

    def init(key: Array, input_size: int) -> Params:
        keys = jax.random.split(key, 7)
        square = jax.random.uniform(
            keys[0], (hidden_size,), jnp.float32, min_radius**2, max_radius**2
        )
        phase = max_phase * jax.random.uniform(keys[1], (hidden_size,), jnp.float32, 1e-4)
        kernel, square_shape = (input_size, hidden_size), (hidden_size, hidden_size)
        half = jnp.sqrt(jnp.float32(0.5))
        return {
            "nu": jnp.log(-0.5 * jnp.log(jnp.maximum(square, 1e-12))),
            "theta": jnp.log(phase),
            "log_gamma": 0.5 * jnp.log1p(-square),
            "b_re": half * kernel_init(keys[2], kernel, jnp.float32),
            "b_im": half * kernel_init(keys[3], kernel, jnp.float32),
            "c_re": half * kernel_init(keys[4], square_shape, jnp.float32),
            "c_im": half * kernel_init(keys[5], square_shape, jnp.float32),
            "d": kernel_init(keys[6], kernel, jnp.float32),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> ComplexState:
        zeros = jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        return ComplexState(zeros, zeros)

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: ComplexState, x: Array) -> tuple[ComplexState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    radius, phase = jnp.exp(-jnp.exp(params["nu"])), jnp.exp(params["theta"])
    re, im = radius * jnp.cos(phase), radius * jnp.sin(phase)
    gamma = jnp.exp(params["log_gamma"])
    new = ComplexState(
        re * state.re - im * state.im + gamma * (x @ params["b_re"]),
        im * state.re + re * state.im + gamma * (x @ params["b_im"]),
    )
    return new, new.re @ params["c_re"] - new.im @ params["c_im"] + x @ params["d"]
