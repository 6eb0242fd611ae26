"""Which examples a network has right, and which wrong."""

import numpy as np


def confusion(truth: np.ndarray, given: np.ndarray, num_classes: int) -> np.ndarray:
    """How often each class (row) was taken for each (column): `[C, C]` integers."""
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (truth, given), 1)
    return counts


def surest(right: np.ndarray, sureness: np.ndarray, *, count: int = 5) -> tuple[list, list]:
    """The places of the examples that the network is surest of: right ones, and wrong ones."""
    order = np.argsort(-sureness, kind="stable")
    return (
        [int(i) for i in order if right[i]][:count],
        [int(i) for i in order if not right[i]][:count],
    )
