"""Sequences of many lengths as a few arrays, so that little is padding and little is compiled."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.data.sequences import Example
from seqjax.errors import InputError, check_positive


class Bucket(NamedTuple):
    """Sequences of similar length, padded with zeros: arrays of NumPy, or of JAX once on a device."""

    inputs: Any  # [N, T, D]
    lengths: Any  # [N] int32
    targets: Any  # [N, ...]
    target_lengths: Any  # [N] int32


class Buckets(NamedTuple):
    """All sequences of a split."""

    buckets: tuple[Bucket, ...]
    places: Any  # [number of sequences, 2] int32: in which bucket, and where in it


def bucketed(examples: Sequence[Example], count: int = 4) -> Buckets:
    """Packs examples into at most `count` buckets, so that the padded steps are fewest.

    Raises:
      InputError: if there are no examples, or one has no steps.
    """
    check_positive("count", count)
    if not examples or min(len(e.inputs) for e in examples) == 0:
        raise InputError("buckets need at least one sequence, each of at least one step.")
    lengths = np.array([len(e.inputs) for e in examples])
    tops = bucket_tops(lengths, count)
    which = np.searchsorted(tops, lengths)
    places = np.zeros((len(examples), 2), np.int32)
    buckets = []
    for i, top in enumerate(tops):
        members = np.flatnonzero(which == i)
        places[members] = np.stack([np.full(len(members), i), np.arange(len(members))], 1)
        inside = [examples[m] for m in members.tolist()]
        targets = [e.targets for e in inside]
        longest = max(len(t) for t in targets)
        buckets.append(
            Bucket(
                np.stack([_padded(e.inputs, top) for e in inside]),
                lengths[members].astype(np.int32),
                np.stack([_padded(t, longest) for t in targets]),
                np.array([len(t) for t in targets], np.int32),
            )
        )
    return Buckets(tuple(buckets), places)


def bucket_tops(lengths: np.ndarray, count: int) -> np.ndarray:
    """The longest lengths of at most `count` buckets with the least padding, rising."""
    sizes, number = np.unique(lengths, return_counts=True)
    total = np.concatenate([[0], np.cumsum(number)])
    # cost[j]: of the j shortest sizes in the buckets so far; each bucket pays its top for all in it.
    cost = np.where(np.arange(len(sizes) + 1) == 0, 0.0, np.inf)
    choices = []
    for _ in range(min(count, len(sizes))):
        options = cost[:, None] + (total[None, 1:] - total[:, None]) * sizes[None]
        options[np.arange(len(sizes) + 1)[:, None] > np.arange(len(sizes))[None]] = np.inf
        choices.append(options.argmin(0))
        cost = np.concatenate([[np.inf], options.min(0)])
    tops, end = [], len(sizes)
    for choice in reversed(choices):
        tops.append(sizes[end - 1])
        end = int(choice[end - 1])
    return np.array(tops[::-1])


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    return np.pad(array, [(0, length - len(array))] + [(0, 0)] * (array.ndim - 1))
