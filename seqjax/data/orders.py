"""In which order examples are read: batches of similar lengths, as a function of seed and epoch."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.errors import InputError, check_positive
from seqjax.types import Array

PAIR_ORDERS = ("pools", "shuffle", "source", "target", "source_target", "target_source")
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
    return random.permutation(_in_batches(ordered, batch_size))


def order_of_pairs(
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    batch_size: int,
    *,
    order: str,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """The pairs of each batch of an epoch, as `order_by_length`, in one of the orders of PAIR_ORDERS.

    "pools" is the order of `order_by_length` by the longer side. The others are those that Morishita et
    al. (2017) compare: "shuffle"; or sorted by "source" length, "target" length, "source_target", which
    is by source and then target, or "target_source", cut into batches, and the batches shuffled.

    Raises:
      InputError: if there is no pair, or the order is unknown.
    """
    source, target = np.asarray(source_lengths), np.asarray(target_lengths)
    check_positive("batch_size", batch_size)
    if order not in PAIR_ORDERS:
        raise InputError(f"order must be one of {', '.join(PAIR_ORDERS)}, got {order!r}.")
    if order == "pools":
        longer = np.maximum(source, target)
        return order_by_length(longer, batch_size, seed=seed, epoch=epoch)
    if not len(source):
        raise InputError("there is no pair to make a batch of.")
    random = np.random.default_rng([seed, epoch])
    shuffled = random.permutation(len(source))
    lengths = {"source": source[shuffled], "target": target[shuffled]}
    keys = [] if order == "shuffle" else [lengths[side] for side in order.split("_")]
    ordered = shuffled[np.lexsort(keys[::-1])] if keys else shuffled  # (the last key counts most)
    return random.permutation(_in_batches(ordered, batch_size))


def padding_share(
    order: np.ndarray, source_lengths: np.ndarray, target_lengths: np.ndarray
) -> float:
    """The share of padding among all places of the batches of an order, both sides together."""
    real = padded_places = 0
    for batch in np.asarray(order):
        for lengths in (source_lengths, target_lengths):
            inside = np.asarray(lengths)[batch[batch >= 0]]
            real += int(inside.sum())
            padded_places += int(inside.max()) * len(inside)
    return 1 - real / padded_places


def _in_batches(ordered: np.ndarray, batch_size: int) -> np.ndarray:
    """`[ceil(N / B), B]` int32; -1 fills the last places."""
    count = -(-len(ordered) // batch_size)
    filled = np.full(count * batch_size, -1, np.int32)
    filled[: len(ordered)] = ordered
    return filled.reshape(count, batch_size)


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
