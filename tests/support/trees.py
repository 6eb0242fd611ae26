"""Trees at random, and of shapes that are hard."""

import numpy as np


def random_tree(rng, leaves, most_children=2, at_least=2):
    """A tree over so many leaves `[N, most_children]`; children stand before their parents."""
    forest, rows = list(range(leaves)), [[] for _ in range(leaves)]
    while len(forest) > 1:
        count = int(rng.integers(at_least, most_children + 1))
        count = min(count, len(forest))
        start = int(rng.integers(len(forest) - count + 1))
        rows.append(forest[start : start + count])
        forest[start : start + count] = [len(rows) - 1]
    return as_array(rows, most_children)


def comb(leaves, left=True):
    """The tree of greatest height: every inner node has one leaf."""
    rows, top = [[]], 0
    for _ in range(leaves - 1):
        rows += [[], [top, len(rows)] if left else [len(rows), top]]
        top = len(rows) - 1
    return as_array(rows, 2)


def chain(nodes):
    """Every node but the first has one child."""
    return as_array([[node - 1] if node else [] for node in range(nodes)], 1)


def as_array(rows, size):
    return np.array([row + [-1] * (size - len(row)) for row in rows])


def is_leaf(tree):
    return tree[:, 0] < 0
