"""Losses: pure functions of arrays, in nats."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.errors import InputError
from seqjax.types import Array


@jax.custom_jvp
def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """-y ln σ(x) - (1 - y) ln(1 - σ(x)) of logits x and labels y in [0, 1], in nats, elementwise.

    As `optax.sigmoid_binary_cross_entropy`, but its derivative σ(x) - y is written out, so that
    training takes no logarithm. For small networks over many notes that was a fifth of the time.
    """
    return jax.nn.softplus(logits) - logits * labels


@binary_cross_entropy.defjvp
def _derivative(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, y), (dx, dy) = primals, tangents
    return binary_cross_entropy(x, y), (jax.nn.sigmoid(x) - y) * dx - x * dy


def next_token_losses(logits: Array, targets: Array) -> Array:
    """Negative log-likelihood in nats, `[B, T]`, of targets `[B, T]` under logits `[B, T, V]`."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets)


def ctc_loss(logits: Array, lengths: Array, labels: Array, label_lengths: Array) -> Array:
    """-ln P(labels), `[B]` in nats, the sum over paths by `optax.ctc_loss`.

    Whatever stands in the padding, NaN included, changes neither values nor gradients. A labelling
    that needs more frames than there are (see `fewest_frames`) has a loss of about 1e5.

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
    return optax.ctc_loss(
        jnp.where(padded[..., None], 0, logits.swapaxes(0, 1)),
        padded.astype(logits.dtype),
        jnp.where(label_padded, 0, labels),
        label_padded.astype(logits.dtype),
        blank_id=symbols - 1,
    )


def fewest_frames(labels: Sequence[int] | np.ndarray) -> int:
    """The length of a labelling's shortest path: equal neighbours need a blank between them."""
    labels = np.asarray(labels)
    return len(labels) + int(np.sum(labels[1:] == labels[:-1]))
