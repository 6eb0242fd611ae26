"""Selective copying (Gu and Dao, 2023): what a recurrence without the state in its gates can keep."""

from functools import partial
from typing import Any

import jax

from experiments.parallel_in_time import blocks
from seqjax.cells import CELLS
from seqjax.tasks.recall import selective_copying
from seqjax.types import Array

CLASSES = 16
TESTED = 500


def measured(
    name: str, key: Array, *, layers: int, length: int, symbols: int, num_steps: int, batch: int
) -> dict[str, Any]:
    """Trains a network on new strings; the share of symbols given back on others."""
    size = blocks.size_of(name)
    cell = CELLS[name](size)
    draw = partial(selective_copying, num_symbols=symbols, num_classes=CLASSES)
    init_key, train_key, test_key = jax.random.split(key, 3)
    params, losses = blocks.trained(
        cell,
        blocks.init(init_key, cell, layers, CLASSES, CLASSES),
        lambda key: draw(key, batch, length),
        train_key,
        num_steps,
    )
    episode = draw(test_key, TESTED, length)
    return {
        "accuracy": float(blocks.right_of(cell, params, episode).sum() / episode.weights.sum()),
        "loss": float(losses[-50:].mean()),
        "units": size,
        "layers": layers,
        "parameters": blocks.count(name, size, layers),
    }
