"""Sequential pixels (Le et al., 2015): who still knows at the last pixel what the first ones showed."""

import time
from typing import Any

import jax
import jax.numpy as jnp

from experiments.common.sequential_images import Split, Splits
from experiments.parallel_in_time import blocks
from seqjax.cells import CELLS
from seqjax.tasks.episode import Episode
from seqjax.types import Array

LAYERS = 2
CLASSES = 10
TESTED = 500  # images at once


def measured(
    name: str, key: Array, *, splits: Splits, num_steps: int, batch: int
) -> dict[str, Any]:
    """Trains a network on batches drawn from the training images; the share of test images told right."""
    start = time.monotonic()
    size = blocks.size_of(name)
    cell = CELLS[name](size)
    init_key, train_key = jax.random.split(key)
    train, test = splits.train, splits.test

    def draw(key: Array) -> Episode:
        which = jax.random.choice(key, len(train.labels), (batch,), replace=False)
        return episode_of(Split(train.xs[which], train.labels[which]))

    params, losses = blocks.trained(
        cell,
        blocks.init(init_key, cell, LAYERS, train.xs.shape[-1] + 1, CLASSES),
        draw,
        train_key,
        num_steps,
    )
    parts = [
        Split(test.xs[i : i + TESTED], test.labels[i : i + TESTED])
        for i in range(0, len(test.labels), TESTED)
    ]
    right = [blocks.right_of(cell, params, episode_of(part)) for part in parts]
    return {
        "accuracy": float(sum(found.sum() for found in right) / len(test.labels)),
        "loss": float(losses[-50:].mean()),
        "units": size,
        "T": train.xs.shape[1],
        "parameters": blocks.count(name, size, LAYERS),
        "seconds": time.monotonic() - start,
    }


def episode_of(split: Split) -> Episode:
    """Images as sequences in which only the answer at the last pixel counts.

    A 1 stands beside each pixel: the first layer's norm would leave nothing of a number but its sign.
    """
    num_steps = split.xs.shape[1]
    xs = jnp.concatenate([split.xs, jnp.ones((*split.xs.shape[:2], 1))], axis=-1)
    shape = (num_steps, len(split.labels))
    last = jnp.arange(num_steps)[:, None] == num_steps - 1
    weights = jnp.broadcast_to(last, shape).astype(jnp.float32)
    return Episode(jnp.swapaxes(xs, 0, 1), jnp.broadcast_to(split.labels, shape), weights)
