"""Parity beyond the length of training (Beck et al., 2024): who can count modulo two, and who only sums."""

from typing import Any

import jax

from experiments.parallel_in_time import blocks
from seqjax.cells import CELLS
from seqjax.tasks.parity import running_parity
from seqjax.types import Array

LENGTH, LONGEST = 40, 256
BATCH, TESTED = 64, 500
LAYERS = 2


def measured(name: str, key: Array, *, num_steps: int) -> dict[str, Any]:
    """Trains on strings of LENGTH bits; the share of right answers to that length, and after it to LONGEST."""
    size = blocks.size_of(name)
    cell = CELLS[name](size)
    init_key, train_key, test_key = jax.random.split(key, 3)
    params, losses = blocks.trained(
        cell,
        blocks.init(init_key, cell, LAYERS, 2, 2),
        lambda key: running_parity(key, BATCH, LENGTH),
        train_key,
        num_steps,
    )
    right = blocks.right_of(cell, params, running_parity(test_key, TESTED, LONGEST))
    return {
        "within": float(right[:LENGTH].mean()),
        "beyond": float(right[LENGTH:].mean()),
        "loss": float(losses[-50:].mean()),
        "units": size,
        "parameters": blocks.count(name, size, LAYERS),
    }
