"""The mLSTM of xLSTM, an LSTM with a matrix for a memory (Beck et al., 2024, eq. 19 to 27).

    qₜ, kₜ, vₜ = W_q xₜ, W_k xₜ / √K, W_v xₜ        oₜ = σ(Wₒ xₜ + bₒ)
    mₜ = max(f̃ₜ + mₜ₋₁, ĩₜ)        ĩₜ = wᵢ xₜ + bᵢ, f̃ₜ = ln σ(w_f xₜ + b_f)
    iₜ = exp(ĩₜ - mₜ)        fₜ = exp(f̃ₜ + mₜ₋₁ - mₜ)
    Cₜ = fₜ Cₜ₋₁ + iₜ kₜ vₜᵀ        nₜ = fₜ nₜ₋₁ + iₜ kₜ
    yₜ = oₜ ⊙ (Cₜᵀ qₜ) / max(|nₜᵀ qₜ|, exp(-mₜ))

in each of M heads with keys of size K and values of H / M. m keeps the exponentials in range and changes
nothing else: the floor of the quotient is 1 without it. (C is kₜ vₜᵀ here, vₜ kₜᵀ in the paper, and q, k and v
have no biases here.)

Parameters: w [D, 2 M K + 2H] in the order q, k, v, o, b_o [H], w_if [D, 2M] and b_if [2M] in the order i, f.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Cell, Initializer, Params


class MLSTMState(NamedTuple):
    c: Array  # [..., M, K, V]
    n: Array  # [..., M, K]
    m: Array  # [..., M]


def mlstm(
    hidden_size: int,
    *,
    heads: int = 1,
    key_size: int | None = None,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds an mLSTM. The forget gates' biases start at 3 to 6 (evenly over heads), those of i at 0.

    Args:
      hidden_size: H, outputs, a multiple of `heads`.
      heads: M.
      key_size: K; that of a head's values if None.
      kernel_init: draws the matrices.

    Raises:
      InputError: if a size is not a positive integer, or heads do not divide hidden_size.
    """
    check_positive("hidden_size", hidden_size)
    check_positive("heads", heads)
    if hidden_size % heads:
        raise InputError(f"heads must divide hidden_size, got {heads} and {hidden_size}.")
    value_size = hidden_size // heads
    size = value_size if key_size is None else check_positive("key_size", key_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, gate_key = jax.random.split(key)
        biases = jnp.concatenate([jnp.zeros(heads), jnp.linspace(3.0, 6.0, heads)])
        return {
            "w": kernel_init(
                kernel_key, (input_size, 2 * heads * size + 2 * hidden_size), jnp.float32
            ),
            "b_o": jnp.zeros(hidden_size, jnp.float32),
            "w_if": kernel_init(gate_key, (input_size, 2 * heads), jnp.float32),
            "b_if": biases.astype(jnp.float32),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> MLSTMState:
        return MLSTMState(
            jnp.zeros((*batch_shape, heads, size, value_size), jnp.float32),
            jnp.zeros((*batch_shape, heads, size), jnp.float32),
            jnp.zeros((*batch_shape, heads), jnp.float32),
        )

    def step(params: Params, state: MLSTMState, x: Array) -> tuple[MLSTMState, Array]:
        def by_head(a: Array) -> Array:
            return a.reshape(*a.shape[:-1], heads, -1)

        keys = heads * size
        cuts = [keys, 2 * keys, 2 * keys + hidden_size]
        q, k, v, o = jnp.split(x @ params["w"], cuts, axis=-1)
        q, k, v = by_head(q), by_head(k) / size**0.5, by_head(v)
        i, f = jnp.split(x @ params["w_if"] + params["b_if"], 2, axis=-1)
        f = jax.nn.log_sigmoid(f)
        m = jnp.maximum(f + state.m, i)
        i, f = jnp.exp(i - m), jnp.exp(f + state.m - m)
        c = f[..., None, None] * state.c + (i[..., None] * k)[..., None] * v[..., None, :]
        n = f[..., None] * state.n + i[..., None] * k
        read = jnp.sum(c * q[..., None], axis=-2)
        largest = 0.99 * math.log(float(jnp.finfo(m.dtype).max))
        least = jnp.exp(jnp.minimum(-m, largest))
        weight = jnp.maximum(jnp.abs(jnp.sum(n * q, axis=-1)), least)
        h = (read / weight[..., None]).reshape(*x.shape[:-1], hidden_size)
        return MLSTMState(c, n, m), jax.nn.sigmoid(o + params["b_o"]) * h

    return Cell(init, initial_state, step, hidden_size)
