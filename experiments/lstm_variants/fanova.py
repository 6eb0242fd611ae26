"""How much of a result's variance each hyperparameter explains (Hutter, Hoos and Leyton-Brown, 2014).

A random forest is fitted to the trials. Each of its trees is a function of the hyperparameters that is
known everywhere in their ranges. Its variance over a grid of them is the sum of the share of each
hyperparameter alone, the share of each pair beyond these, and a remainder. Shares are means over the
trees.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from seqjax.errors import InputError

POINTS = 16  # on each axis of the grid
TREES = 64


class Shares(NamedTuple):
    """Shares of the variance over the grid, which add up to 1 with the remainder."""

    alone: dict[str, float]
    pairs: dict[tuple[str, str], float]
    surfaces: dict[tuple[str, str], np.ndarray]  # the forest's mean, [POINTS, POINTS]


def fanova(
    names: Sequence[str], settings: np.ndarray, values: np.ndarray, *, seed: int = 0
) -> Shares:
    """Splits the variance of `values` into shares.

    Args:
      names: the names of the hyperparameters.
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
    """The mean over all axes except `axes`."""
    return surface.mean(tuple(i for i in range(surface.ndim) if i not in axes))
