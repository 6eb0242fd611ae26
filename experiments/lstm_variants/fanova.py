"""How much of a result's variance each hyperparameter explains (Hutter, Hoos and Leyton-Brown, 2014).

A random forest is fitted to the trials. Each of its trees is a function of all hyperparameters that
is known everywhere in their ranges; over a grid of them its variance falls apart exactly into shares
of each one alone, of each pair beyond its two, and of what is left. Shares are means over the trees.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from seqjax.errors import InputError

POINTS = 16  # of the grid, on each axis
TREES = 64


class Shares(NamedTuple):
    """Of the variance over the grid; those of one tree add up to 1 with what is left."""

    alone: dict[str, float]
    pairs: dict[tuple[str, str], float]
    surfaces: dict[tuple[str, str], np.ndarray]  # means of the forest, [POINTS, POINTS]


def fanova(
    names: Sequence[str], settings: np.ndarray, values: np.ndarray, *, seed: int = 0
) -> Shares:
    """Splits the variance of `values`.

    Args:
      names: of the hyperparameters.
      settings: `[trials, hyperparameters]`, each scaled so that the search draws it evenly in [0, 1].
      values: `[trials]`, finite.

    Raises:
      InputError: if there are fewer than 8 trials.
    """
    if len(values) < 8:
        raise InputError(f"a forest needs at least 8 trials, got {len(values)}.")
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    forest.fit(settings, values)
    middles = (np.arange(POINTS) + 0.5) / POINTS
    grid = np.stack(np.meshgrid(*[middles] * len(names), indexing="ij"), -1)
    points = grid.reshape(-1, len(names)).astype(np.float32)
    alone: dict[str, list[float]] = {name: [] for name in names}
    pairs: dict[tuple[str, str], list[float]] = {pair: [] for pair in combinations(names, 2)}
    surfaces = {pair: np.zeros((POINTS, POINTS)) for pair in pairs}
    for tree in forest.estimators_:
        surface = tree.predict(points).reshape([POINTS] * len(names))
        total = surface.var()
        mains = {name: _mean(surface, [i]) - surface.mean() for i, name in enumerate(names)}
        for i, j in combinations(range(len(names)), 2):
            pair = (names[i], names[j])
            both = _mean(surface, [i, j])
            surfaces[pair] += both / TREES
            beyond = both - mains[names[i]][:, None] - mains[names[j]][None]
            pairs[pair].append(beyond.var() / total if total else 0.0)
        for name in names:
            alone[name].append(mains[name].var() / total if total else 0.0)
    return Shares(
        {name: float(np.mean(shares)) for name, shares in alone.items()},
        {pair: float(np.mean(shares)) for pair, shares in pairs.items()},
        surfaces,
    )


def _mean(surface: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Over all axes but these."""
    return surface.mean(tuple(i for i in range(surface.ndim) if i not in axes))
