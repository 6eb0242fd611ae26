"""From a sequence of features to one vector, each exact over lengths. Batch-major.

Whatever stands past a row's length, NaN included, never wins, counts, or reaches a gradient. A row
of length 0 gives zeros; a length above T counts as T, as in `unroll`.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from seqjax.errors import InputError
from seqjax.types import Array, float32_or_wider


def last(ys: Array, lengths: Array | None = None, *, backward: np.ndarray | None = None) -> Array:
    """The features of each row's last step: `[B, T, H] -> [B, H]`.

    Args:
      ys: features `[B, T, H]`.
      lengths: integers `[B]`, or None for all T.
      backward: which of the H features read backward, bools `[H]`, as `backward_features` of a layer says it;
        their last step is the first of the row. None where none does.
    """
    lengths = _checked(ys, lengths)
    at = jnp.maximum(lengths - 1, 0)[:, None, None]
    end = jnp.take_along_axis(ys, at, 1)[:, 0]
    pooled = end if backward is None else jnp.where(backward, ys[:, 0], end)
    return jnp.where((lengths > 0)[:, None], pooled, 0)


def mean(ys: Array, lengths: Array | None = None) -> Array:
    """The mean of each feature over the row's steps: `[B, T, H] -> [B, H]`."""
    lengths = _checked(ys, lengths)
    wide = float32_or_wider(ys)  # or long sums overflow or stand still
    total = jnp.where(_valid(ys, lengths), ys, 0).sum(1, dtype=wide)
    return (total / jnp.maximum(lengths, 1)[:, None]).astype(ys.dtype)


def max(ys: Array, lengths: Array | None = None) -> Array:
    """The largest value of each feature over the row's steps: `[B, T, H] -> [B, H]`."""
    lengths = _checked(ys, lengths)
    lowest = jnp.asarray(-jnp.inf, ys.dtype)
    largest = jnp.where(_valid(ys, lengths), ys, lowest).max(1)
    return jnp.where((lengths > 0)[:, None], largest, 0)


POOLINGS: dict[str, Callable[..., Array]] = {"last": last, "mean": mean, "max": max}


def _valid(ys: Array, lengths: Array) -> Array:
    return (jnp.arange(ys.shape[1]) < lengths[:, None])[..., None]


def _checked(ys: Array, lengths: Array | None) -> Array:
    if ys.ndim != 3 or not ys.shape[1]:
        raise InputError(f"pooling takes [B, T, H] with T >= 1, got an array of shape {ys.shape}.")
    if lengths is None:
        return jnp.full(ys.shape[0], ys.shape[1])
    lengths = jnp.asarray(lengths)
    if lengths.shape != ys.shape[:1] or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise InputError(
            f"lengths must be integers of shape {ys.shape[:1]}, one for each row of ys {ys.shape},"
            f" got {lengths.dtype} of shape {lengths.shape}."
        )
    return jnp.minimum(lengths, ys.shape[1])
