"""A diagonal state-space layer (S5: Smith, Warrington and Linderman, 2023; S4D: Gu et al., 2022).

    hₜ = exp(Δ λ) ⊙ hₜ₋₁ + ((exp(Δ λ) - 1) / λ) ⊙ (B xₜ)        (zero-order hold)
    yₜ = 2 Re(C hₜ) + D xₜ

with complex λ = -exp(a) + i ω for each of N states, of which the conjugates are implied. λ starts as
-1/2 + i π n, n = 0 ... N - 1 (S4D-Lin), and the step sizes Δ between two bounds, on a logarithmic scale.

The state is kept as its real and its imaginary part [..., N]. Parameters: a, omega, log_step [N],
b_re, b_im [D, N], c_re, c_im [N, H], d [D, H].
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.lru import ComplexState
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Cell, Initializer, Params


def s5(
    hidden_size: int,
    *,
    state_size: int | None = None,
    min_step: float = 0.001,
    max_step: float = 0.1,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds a diagonal state-space layer.

    Args:
      hidden_size: H, outputs.
      state_size: N, complex states; H if None.
      min_step: Δ starts between these, 0 < min_step < max_step.
      max_step: see above.
      kernel_init: draws B's and C's real and imaginary parts, which are divided by √2, and D.

    Raises:
      InputError: if a size is not a positive integer, or the step sizes do not fit.
    """
    check_positive("hidden_size", hidden_size)
    size = hidden_size if state_size is None else check_positive("state_size", state_size)
    if not 0 < min_step < max_step:
        raise InputError(f"0 < min_step < max_step must hold, got {min_step} and {max_step}.")

    def init(key: Array, input_size: int) -> Params:
        keys = jax.random.split(key, 6)
        bounds = jnp.log(jnp.array([min_step, max_step], jnp.float32))
        half = jnp.sqrt(jnp.float32(0.5))
        return {
            "a": jnp.full(size, jnp.log(0.5), jnp.float32),
            "omega": jnp.pi * jnp.arange(size, dtype=jnp.float32),
            "log_step": jax.random.uniform(keys[0], (size,), jnp.float32, *bounds),
            "b_re": half * kernel_init(keys[1], (input_size, size), jnp.float32),
            "b_im": half * kernel_init(keys[2], (input_size, size), jnp.float32),
            "c_re": half * kernel_init(keys[3], (size, hidden_size), jnp.float32),
            "c_im": half * kernel_init(keys[4], (size, hidden_size), jnp.float32),
            "d": kernel_init(keys[5], (input_size, hidden_size), jnp.float32),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> ComplexState:
        zeros = jnp.zeros((*batch_shape, size), jnp.float32)
        return ComplexState(zeros, zeros)

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: ComplexState, x: Array) -> tuple[ComplexState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    decay, omega, size = -jnp.exp(params["a"]), params["omega"], jnp.exp(params["log_step"])
    radius = jnp.exp(size * decay)
    re, im = radius * jnp.cos(size * omega), radius * jnp.sin(size * omega)
    # (exp(Δ λ) - 1) / λ, a complex quotient.
    square = decay * decay + omega * omega
    held_re = ((re - 1) * decay + im * omega) / square
    held_im = (im * decay - (re - 1) * omega) / square
    in_re, in_im = x @ params["b_re"], x @ params["b_im"]
    new = ComplexState(
        re * state.re - im * state.im + held_re * in_re - held_im * in_im,
        im * state.re + re * state.im + held_im * in_re + held_re * in_im,
    )
    return new, 2 * (new.re @ params["c_re"] - new.im @ params["c_im"]) + x @ params["d"]
