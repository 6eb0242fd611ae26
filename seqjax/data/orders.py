"""In which order examples are read: batches of similar lengths, as a function of seed and epoch."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.errors import InputError, check_positive
from seqjax.types import Array

POOL = 32  # batches whose examples are sorted together: little padding, and much chance


def order_by_length(
    lengths: Sequence[int] | np.ndarray, batch_size: int, *, seed: int, epoch: int
) -> np.ndarray:
    """The examples of each batch of an epoch, `[ceil(N / B), B]` int32; -1 fills the last places.

    Every example comes once. Examples are shuffled, sorted by length within pools of 32 batches,
    cut into batches, and the batches are shuffled: a pure function of seed and epoch, so that a run
    that goes on reads what it would have read.

    Raises:
      InputError: if there is no example.
    """
    lengths = np.asarray(lengths)
    check_positive("batch_size", batch_size)
    if not len(lengths):
        raise InputError("there is no example to make a batch of.")
    random = np.random.default_rng([seed, epoch])
    shuffled = random.permutation(len(lengths))
    pools = np.array_split(shuffled, range(POOL * batch_size, len(lengths), POOL * batch_size))
    ordered = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    count = -(-len(lengths) // batch_size)
    filled = np.full(count * batch_size, -1, np.int32)
    filled[: len(ordered)] = ordered
    return random.permutation(filled.reshape(count, batch_size))


def take(arrays: Any, order: Array, step: Array | int) -> tuple[Any, Array]:
    """The rows of a batch, and which of them are examples `[B]`; under `jit`.

    Args:
      arrays: a pytree of arrays `[N, ...]`.
      order: from `order_by_length`.
      step: counts from 0, over all epochs.
    """
    places = jnp.asarray(order)[step % len(order)]
    rows = jax.tree.map(lambda a: jnp.asarray(a)[jnp.maximum(places, 0)], arrays)
    return rows, places >= 0


def padded(rows: Sequence[np.ndarray], fill: int = 0) -> np.ndarray:
    """Arrays `[T_n, ...]` as one, `[N, T, ...]`, filled up at their ends."""
    longest = max(map(len, rows))
    out = np.full((len(rows), longest, *rows[0].shape[1:]), fill, rows[0].dtype)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out
