"""What a loss may add up besides its task's: penalties on weights and on activations.

Penalties on activations are means over a batch's valid steps, in float32 at least; where padding stands, NaN
included, changes neither value nor gradient.
"""

import jax.numpy as jnp

from seqjax.errors import InputError
from seqjax.types import Array, float32_or_wider


def orthogonality(u: Array) -> Array:
    """‖UᵀU - I‖² of a matrix `[M, H]`, or the sum over gates of `[H, G·H]`, to be weighted.

    The soft way to an orthogonal matrix (Vorontsov et al., 2017, eq. 8).
    """
    rows, columns = u.shape
    if columns > rows and columns % rows == 0:
        parts = u.reshape(rows, columns // rows, rows).swapaxes(0, 1)
    else:
        parts = u[None]
    gram = parts.swapaxes(1, 2) @ parts
    return jnp.sum((gram - jnp.eye(parts.shape[2], dtype=u.dtype)) ** 2)


def norm_stabiliser(hs: Array, lengths: Array | None = None) -> Array:
    """The mean over time of (‖hₜ‖ - ‖hₜ₋₁‖)² (Krueger and Memisevic, 2016, eq. 1), to be weighted.

    Args:
      hs: `[T, B, H]`, T of at least 2. The paper weights the penalty by 50 to 500.
      lengths: integers `[B]`, or None for all T.
    """
    valid = _valid(hs, lengths, least=2)
    square = jnp.sum(jnp.where(valid[..., None], hs, 1) ** 2, -1)
    # The inner `where` keeps the root's infinite slope at zero out of the gradient.
    norms = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return _mean((norms[1:] - norms[:-1]) ** 2, valid[1:])


def activation(hs: Array, lengths: Array | None = None) -> Array:
    """The mean over steps and units of hₜ² (AR: Merity, McCann and Socher, 2017), to be weighted.

    Args:
      hs: `[T, B, H]`, after dropout; theirs is weighted by 2.
      lengths: integers `[B]`, or None for all T.
    """
    valid = _valid(hs, lengths, least=1)
    return _mean(jnp.mean(jnp.where(valid[..., None], hs, 0) ** 2, -1), valid)


def temporal_activation(hs: Array, lengths: Array | None = None) -> Array:
    """The mean over steps and units of (hₜ - hₜ₋₁)² (TAR: the same), to be weighted.

    Args:
      hs: `[T, B, H]`, T of at least 2, before dropout; theirs is weighted by 1.
      lengths: integers `[B]`, or None for all T.
    """
    valid = _valid(hs, lengths, least=2)
    hs = jnp.where(valid[..., None], hs, 0)
    return _mean(jnp.mean((hs[1:] - hs[:-1]) ** 2, -1), valid[1:])


def _valid(hs: Array, lengths: Array | None, *, least: int) -> Array:
    """Which steps are valid, `[T, B]`."""
    if hs.ndim != 3 or hs.shape[0] < least:
        raise InputError(f"hs must be [T, B, H] with T of at least {least}, got shape {hs.shape}.")
    if lengths is None:
        return jnp.ones(hs.shape[:2], bool)
    return jnp.arange(hs.shape[0])[:, None] < lengths


def _mean(values: Array, valid: Array) -> Array:
    total = jnp.where(valid, values, 0).sum(dtype=float32_or_wider(values))
    return total / jnp.maximum(valid.sum(), 1).astype(total.dtype)
