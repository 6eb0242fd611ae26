"""Losses: pure functions of arrays, in nats."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.custom_derivatives import SymbolicZero

from seqjax.errors import InputError
from seqjax.types import Array


def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """-y ln σ(x) - (1 - y) ln(1 - σ(x)) of logits x and labels y in [0, 1], in nats, elementwise.

    Labels may be floats, integers or booleans. An infinite logit costs nothing where it is right,
    as 0 ln 0 = 0, and is infinitely wrong elsewhere.

    As `optax.sigmoid_binary_cross_entropy`, but its derivative σ(x) - y is written out, so that
    training takes no logarithm. For small networks over many notes that was a fifth of the time.
    """
    logits = jnp.asarray(logits)
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.inexact):
        labels = labels.astype(logits.dtype)
    return _cross_entropy(logits, labels)


@jax.custom_jvp
def _cross_entropy(x: Array, y: Array) -> Array:
    # ln(1 + eˣ) - x y, cut so that no two large numbers cancel: x⁺ - x y and the rest of softplus.
    wrong = (x > 0).astype(y.dtype) - y
    return jnp.where(wrong == 0, 0, x * wrong) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _derivative(
    primals: tuple[Array, Array], tangents: tuple[Array | SymbolicZero, Array | SymbolicZero]
) -> tuple[Array, Array]:
    (x, y), (dx, dy) = primals, tangents
    value = _cross_entropy(x, y)
    total = jnp.zeros_like(value)
    if not isinstance(dx, SymbolicZero):
        total += (jax.nn.sigmoid(x) - y) * dx
    if not isinstance(dy, SymbolicZero):  # 0 · ∞ otherwise
        total -= x * dy
    return value, total


_cross_entropy.defjvp(_derivative, symbolic_zeros=True)


def next_token_losses(logits: Array, targets: Array) -> Array:
    """Negative log-likelihood in nats, `[B, T]`, of targets `[B, T]` under logits `[B, T, V]`."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets)


def ctc_loss(logits: Array, lengths: Array, labels: Array, label_lengths: Array) -> Array:
    """-ln P(labels), `[B]` in nats, the sum over paths by `optax.ctc_loss`.

    Whatever stands in the padding, NaN included, changes neither values nor gradients. A labelling
    that needs more frames than there are (see `fewest_frames`) has a loss of about 1e5.

    A row with a label that is none, the blank included, has a loss of NaN.

    Args:
      logits: `[T, B, V]`; the blank is V - 1.
      lengths: integers `[B]`, the number of valid frames.
      labels: integers `[B, L]` in 0 ... V - 2.
      label_lengths: integers `[B]`, the number of valid labels.

    Raises:
      InputError: if the shapes do not fit.
    """
    if logits.ndim != 3 or logits.shape[2] < 2:
        raise InputError(f"logits must be [T, B, V] with V >= 2, got shape {logits.shape}.")
    steps, batch, symbols = logits.shape
    if labels.ndim != 2 or {labels.shape[0], *lengths.shape, *label_lengths.shape} != {batch}:
        raise InputError(
            f"for {batch} sequences, labels must be [B, L] and lengths and label_lengths [B], got"
            f" shapes {labels.shape}, {lengths.shape} and {label_lengths.shape}."
        )
    padded = jnp.arange(steps) >= lengths[:, None]
    label_padded = jnp.arange(labels.shape[1]) >= label_lengths[:, None]
    known = label_padded | ((labels >= 0) & (labels < symbols - 1))
    losses = optax.ctc_loss(
        jnp.where(padded[..., None], 0, logits.swapaxes(0, 1)),
        padded.astype(logits.dtype),
        jnp.where(label_padded, 0, labels),
        label_padded.astype(logits.dtype),
        blank_id=symbols - 1,
    )
    return jnp.where(known.all(1), losses, jnp.nan)


def fewest_frames(labels: Sequence[int] | np.ndarray) -> int:
    """The length of a labelling's shortest path: equal neighbours need a blank between them."""
    labels = np.asarray(labels)
    return len(labels) + int(np.sum(labels[1:] == labels[:-1]))
