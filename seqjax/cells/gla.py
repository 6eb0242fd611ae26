"""Gated linear attention (Yang et al., 2024, eq. 3 to 5).

    qₜ, kₜ, vₜ = W_q xₜ, W_k xₜ, W_v xₜ        αₜ = σ(W_α V_α xₜ + b_α)^(1/16)
    Sₜ = diag(αₜ) Sₜ₋₁ + kₜ vₜᵀ        oₜ = Sₜᵀ qₜ / √K
    yₜ = oₜ ⊙ SiLU(W_r xₜ + b_r)

in each of M heads with keys of size K and values of H / M. The normalisation of o and the output matrix are left
to what reads y.

Parameters: w_qk [D, 2 M K] in the order q, k, w_vr [D, 2H] in the order v, r, b_r [H], w_alpha [D, R],
v_alpha [R, M K], b_alpha [M K].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Cell, Initializer, Params


class MatrixState(NamedTuple):
    s: Array  # [..., M, K, V]


def gla(
    hidden_size: int,
    *,
    heads: int = 1,
    key_size: int | None = None,
    rank: int = 16,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds a layer of gated linear attention.

    Args:
      hidden_size: H, outputs, a multiple of `heads`.
      heads: M.
      key_size: K; half of a head's values, at least 1, if None.
      rank: R, of the matrix that makes α.
      kernel_init: draws the matrices.

    Raises:
      InputError: if a size is not a positive integer, or heads do not divide hidden_size.
    """
    check_positive("hidden_size", hidden_size)
    check_positive("heads", heads)
    check_positive("rank", rank)
    if hidden_size % heads:
        raise InputError(f"heads must divide hidden_size, got {heads} and {hidden_size}.")
    value_size = hidden_size // heads
    size = max(1, value_size // 2) if key_size is None else check_positive("key_size", key_size)

    def init(key: Array, input_size: int) -> Params:
        keys = jax.random.split(key, 4)
        draw = initializers.per_gate(kernel_init, 2)
        return {
            "w_qk": draw(keys[0], (input_size, 2 * heads * size), jnp.float32),
            "w_vr": draw(keys[1], (input_size, 2 * hidden_size), jnp.float32),
            "b_r": jnp.zeros(hidden_size, jnp.float32),
            "w_alpha": kernel_init(keys[2], (input_size, rank), jnp.float32),
            "v_alpha": kernel_init(keys[3], (rank, heads * size), jnp.float32),
            "b_alpha": jnp.zeros(heads * size, jnp.float32),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> MatrixState:
        return MatrixState(jnp.zeros((*batch_shape, heads, size, value_size), jnp.float32))

    def step(params: Params, state: MatrixState, x: Array) -> tuple[MatrixState, Array]:
        def by_head(a: Array) -> Array:
            return a.reshape(*a.shape[:-1], heads, -1)

        q, k = map(by_head, jnp.split(x @ params["w_qk"], 2, axis=-1))
        v, r = jnp.split(x @ params["w_vr"], 2, axis=-1)
        log_alpha = jax.nn.log_sigmoid(
            x @ params["w_alpha"] @ params["v_alpha"] + params["b_alpha"]
        )
        alpha = by_head(jnp.exp(log_alpha / 16))
        s = alpha[..., None] * state.s + k[..., None] * by_head(v)[..., None, :]
        o = jnp.sum(s * q[..., None], axis=-2) / size**0.5
        gate = jax.nn.silu(r + params["b_r"])
        return MatrixState(s), o.reshape(*x.shape[:-1], hidden_size) * gate

    return Cell(init, initial_state, step, hidden_size)
