"""Losses of models that label: a whole sequence, or each of its steps."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import lax

from seqjax.errors import InputError
from seqjax.layers import crf
from seqjax.types import Array


class Labelled(NamedTuple):
    """Examples, padded to one length: arrays of NumPy, or of JAX."""

    inputs: Any  # [N, T, ...]
    lengths: Any  # [N] int32
    labels: Any  # int32 [N], or [N, T] where each step has a label


def at_length(
    tops: Sequence[int], lengths: Array, function: Callable[..., Any], *arrays: Array
) -> Any:
    """`function(*arrays)`, the arrays `[B, T, ...]` cut to the shortest top that holds all lengths.

    One program holds a branch for each top, of which one runs: short batches take little time,
    though shapes are fixed. What the function returns must not depend on T.

    Raises:
      InputError: if the greatest top is below T.
    """
    tops = sorted({int(top) for top in tops})
    most = max(a.shape[1] for a in arrays)
    if tops[-1] < most:
        raise InputError(f"the greatest of tops must be at least {most}, got {tops[-1]}.")
    which = jnp.searchsorted(jnp.array(tops[:-1], jnp.int32), lengths.max())

    def branch(top: int) -> Callable[..., Any]:
        return lambda *arrays: function(*(a[:, :top] for a in arrays))

    return lax.switch(which, [branch(top) for top in tops], *arrays)


def label_losses(logits: Array, labels: Array) -> Array:
    """-ln p(label) in nats, `[...]`, of logits `[..., C]`."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def tag_losses(
    emissions: Array, tags: Array, lengths: Array, transitions: crf.Transitions | None = None
) -> Array:
    """-ln p(tags of a row) in nats, `[B]`: a softmax for each step, or a CRF over all.

    Args:
      emissions: `[B, T, K]`.
      tags: integers `[B, T]`.
      lengths: integers `[B]`.
      transitions: of the CRF; None for a softmax.
    """
    if transitions is not None:
        return -crf.log_likelihood(transitions, emissions, tags, lengths)
    valid = jnp.arange(tags.shape[1]) < lengths[:, None]
    clean = jnp.where(valid[..., None], emissions, 0)
    return jnp.where(valid, label_losses(clean, jnp.where(valid, tags, 0)), 0).sum(1)
