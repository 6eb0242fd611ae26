"""The linear-chain conditional random field (Lafferty, McCallum and Pereira, 2001). Batch-major.

    score(tags) = start[tags_1] + Σ_t emissions_t[tags_t] + Σ_t between[tags_t, tags_t+1] + end[tags_L]
    p(tags) = exp(score(tags)) / Σ over all K^L sequences of tags

as in Huang, Xu and Yu (2015) and Lample et al. (2016), who read the emissions from a bidirectional
LSTM. Sums are taken in float32 at least. Every row has a length L, at most T; whatever stands past it,
NaN included, changes neither values nor gradients. An empty row has one sequence of tags, the empty one,
of probability 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.errors import InputError
from seqjax.types import Array, float32_or_wider


class Transitions(NamedTuple):
    """Scores of what stands beside what; -1e4, say, where a tag must not follow another."""

    start: Array  # [K], of the first tag
    between: Array  # [K, K], of a tag (row) and the next (column)
    end: Array  # [K], of the last tag


def log_likelihood(
    transitions: Transitions, emissions: Array, tags: Array, lengths: Array
) -> Array:
    """ln p(tags), `[B]`, in nats.

    Args:
      transitions: of K tags.
      emissions: `[B, T, K]`.
      tags: integers `[B, T]`.
      lengths: integers `[B]`, from 0 to T.

    Raises:
      InputError: if shapes do not fit.
    """
    transitions, emissions = _checked(transitions, emissions, lengths)
    if tags.shape != emissions.shape[:2]:
        raise InputError(f"tags must be {emissions.shape[:2]}, as emissions, got {tags.shape}.")
    emissions, valid = _cleaned(emissions, lengths)
    tags = jnp.where(valid, tags, 0)
    at_tags = jnp.take_along_axis(emissions, tags[..., None], -1)[..., 0]
    steps = jnp.where(valid[:, 1:], transitions.between[tags[:, :-1], tags[:, 1:]], 0)
    ends_at = jnp.clip(lengths - 1, 0, tags.shape[1] - 1)
    final = jnp.take_along_axis(tags, ends_at[:, None], 1)[:, 0]
    ends = transitions.start[tags[:, 0]] + transitions.end[final]
    score = jnp.where(valid, at_tags, 0).sum(1) + steps.sum(1) + ends
    log_partition = _log_partition(transitions, emissions, valid)
    return jnp.where(lengths > 0, score - log_partition, 0)


def _log_partition(transitions: Transitions, emissions: Array, valid: Array) -> Array:
    """ln Σ exp(score) over all tags, `[B]`; of an empty row, whatever one step would give."""

    def step(alpha: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
        emission, valid_t = inputs
        reached = jax.nn.logsumexp(alpha[:, :, None] + transitions.between, 1) + emission
        return jnp.where(valid_t[:, None], reached, alpha), None

    first = transitions.start + emissions[:, 0]
    rest = emissions.swapaxes(0, 1)[1:], valid.T[1:]
    alpha, _ = lax.scan(step, first, rest)
    return jax.nn.logsumexp(alpha + transitions.end, 1)


def viterbi(transitions: Transitions, emissions: Array, lengths: Array) -> tuple[Array, Array]:
    """The most probable tags and their score (Viterbi, 1967): `([B, T] int32, [B])`.

    Tags past a row's length are 0. Of equally good tags the lower wins, from the last step back.

    Raises:
      InputError: if shapes do not fit.
    """
    transitions, emissions = _checked(transitions, emissions, lengths)
    emissions, valid = _cleaned(emissions, lengths)
    here = jnp.broadcast_to(jnp.arange(emissions.shape[2]), emissions[:, 0].shape)

    def forward(best: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        emission, valid_t = inputs
        scores = best[:, :, None] + transitions.between
        came_from = jnp.where(valid_t[:, None], scores.argmax(1), here)
        best = jnp.where(valid_t[:, None], scores.max(1) + emission, best)
        return best, came_from

    first = transitions.start + emissions[:, 0]
    best, came_from = lax.scan(forward, first, (emissions.swapaxes(0, 1)[1:], valid.T[1:]))
    best = best + transitions.end
    final = best.argmax(1)

    def backward(tag: Array, came_from_t: Array) -> tuple[Array, Array]:
        before = jnp.take_along_axis(came_from_t, tag[:, None], 1)[:, 0]
        return before, before

    _, tags = lax.scan(backward, final, came_from, reverse=True)
    tags = jnp.concatenate([tags, final[None]]).T
    score = jnp.where(lengths > 0, best.max(1), 0)
    return jnp.where(valid, tags, 0).astype(jnp.int32), score


def _cleaned(emissions: Array, lengths: Array) -> tuple[Array, Array]:
    """Emissions with zeros past each row's end, and which steps are valid `[B, T]`."""
    valid = jnp.arange(emissions.shape[1]) < lengths[:, None]
    return jnp.where(valid[..., None], emissions, 0), valid


def _checked(
    transitions: Transitions, emissions: Array, lengths: Array
) -> tuple[Transitions, Array]:
    """Both in one precision, in which a sum over many steps is a sum."""
    if emissions.ndim != 3 or not emissions.shape[1]:
        raise InputError(f"emissions must be [B, T, K] with T >= 1, got shape {emissions.shape}.")
    num_tags = emissions.shape[2]
    expected = ((num_tags,), (num_tags, num_tags), (num_tags,))
    for name, array, shape in zip(Transitions._fields, transitions, expected, strict=True):
        if array.shape != shape:
            raise InputError(
                f"transitions.{name} must have shape {shape} for {num_tags} tags, got {array.shape}."
            )
    if lengths.shape != emissions.shape[:1]:
        raise InputError(f"lengths must have shape {emissions.shape[:1]}, got {lengths.shape}.")
    dtype = float32_or_wider(emissions, *transitions)
    return Transitions(*(array.astype(dtype) for array in transitions)), emissions.astype(dtype)
