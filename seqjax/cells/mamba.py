"""Mamba's selective state space, S6 (Gu and Dao, 2023, algorithm 2).

    uₜ = W_u xₜ + b_u
    Δₜ = softplus(W_Δ V_Δ uₜ + b_Δ)        Bₜ = W_B uₜ        Cₜ = W_C uₜ
    hₜ = exp(Δₜ A) ⊙ hₜ₋₁ + (Δₜ ⊙ uₜ) Bₜᵀ        A = -exp(log_a)
    yₜ = (hₜ Cₜ + d ⊙ uₜ) ⊙ SiLU(W_z xₜ)

for H channels with N states each, h [H, N]. Of Mamba's block this is all but the short convolution, the SiLU
behind it and the output matrix. A starts as -1, ..., -N in every channel; softplus(b_Δ) between two bounds, on a logarithmic
scale.

Parameters: w [D, 2H] in the order u, z, b_u [H], w_delta [H, R], v_delta [R, H], b_delta [H], w_bc [H, 2N] in
the order B, C, log_a [H, N], d [H].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Cell, Initializer, Params


class SelectiveState(NamedTuple):
    h: Array  # [..., H, N]


def mamba(
    hidden_size: int,
    *,
    state_size: int = 16,
    rank: int | None = None,
    min_step: float = 0.001,
    max_step: float = 0.1,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds a selective state-space layer.

    Args:
      hidden_size: H, channels and outputs.
      state_size: N, states of a channel.
      rank: R, of the matrix that makes Δ; H / 16, at least 1, if None.
      min_step: Δ at an input of zero starts between these, 0 < min_step < max_step.
      max_step: see above.
      kernel_init: draws the matrices.

    Raises:
      InputError: if a size is not a positive integer, or the steps do not fit.
    """
    check_positive("hidden_size", hidden_size)
    check_positive("state_size", state_size)
    if not 0 < min_step < max_step:
        raise InputError(f"0 < min_step < max_step must hold, got {min_step} and {max_step}.")
    rank = max(1, hidden_size // 16) if rank is None else check_positive("rank", rank)

    def init(key: Array, input_size: int) -> Params:
        keys = jax.random.split(key, 5)
        draw = initializers.per_gate(kernel_init, 2)
        bounds = jnp.log(jnp.array([min_step, max_step], jnp.float32))
        steps = jnp.exp(jax.random.uniform(keys[0], (hidden_size,), jnp.float32, *bounds))
        states = jnp.log(jnp.arange(1, state_size + 1, dtype=jnp.float32))
        return {
            "w": draw(keys[1], (input_size, 2 * hidden_size), jnp.float32),
            "b_u": jnp.zeros(hidden_size, jnp.float32),
            "w_delta": kernel_init(keys[2], (hidden_size, rank), jnp.float32),
            "v_delta": kernel_init(keys[3], (rank, hidden_size), jnp.float32),
            "b_delta": jnp.log(jnp.expm1(steps)),
            "w_bc": draw(keys[4], (hidden_size, 2 * state_size), jnp.float32),
            "log_a": jnp.tile(states, (hidden_size, 1)),
            "d": jnp.ones(hidden_size, jnp.float32),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> SelectiveState:
        return SelectiveState(jnp.zeros((*batch_shape, hidden_size, state_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: SelectiveState, x: Array) -> tuple[SelectiveState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    u, z = jnp.split(x @ params["w"], 2, axis=-1)
    u = u + params["b_u"]
    delta = jax.nn.softplus(u @ params["w_delta"] @ params["v_delta"] + params["b_delta"])
    b, c = jnp.split(u @ params["w_bc"], 2, axis=-1)
    decay = jnp.exp(-delta[..., None] * jnp.exp(params["log_a"]))
    h = decay * state.h + (delta * u)[..., None] * b[..., None, :]
    y = jnp.sum(h * c[..., None, :], axis=-1) + params["d"] * u
    return SelectiveState(h), y * jax.nn.silu(z)
