"""How much of a result's variance each hyperparameter explains (Hutter, Hoos and Leyton-Brown, 2014).

A random forest is fitted to the trials. Each of its trees is a function of the hyperparameters that is
known everywhere in their ranges. Its variance over a grid of them is the sum of the share of each
hyperparameter alone, the share of each pair beyond these, and a remainder. Shares are means over the
trees that vary at all.
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
    """Shares of the variance over the grid; they lie between 0 and 1, and add up to 1."""

    alone: dict[str, float]
    pairs: dict[tuple[str, str], float]
    surfaces: dict[tuple[str, str], np.ndarray]  # the forest's mean, [POINTS, POINTS]
    rest: float  # of three and more together; all of it where nothing varies


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
    # By a power of 2, which is exact: no square of what follows is beyond a float.
    _, exponent = np.frexp(np.abs(values).max())
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    forest.fit(settings, np.ldexp(values, -exponent))
    middles = (np.arange(POINTS) + 0.5) / POINTS
    grid = np.stack(np.meshgrid(*[middles] * len(names), indexing="ij"), -1)
    points = grid.reshape(-1, len(names)).astype(np.float32)
    pairs = list(combinations(names, 2))
    surfaces = {pair: np.zeros((POINTS, POINTS)) for pair in pairs}
    trees = []
    for tree in forest.estimators_:
        surface = tree.predict(points).reshape([POINTS] * len(names))
        for pair in pairs:
            surfaces[pair] += _mean(surface, [names.index(name) for name in pair]) / TREES
        trees += [] if surface.min() == surface.max() else [_shares(surface)]
    found = np.mean(trees, 0) if trees else np.zeros(len(names) + len(pairs))
    alone, together = found[: len(names)].tolist(), found[len(names) :].tolist()
    return Shares(
        dict(zip(names, alone, strict=True)),
        dict(zip(pairs, together, strict=True)),
        {pair: np.ldexp(surface, exponent) for pair, surface in surfaces.items()},
        max(0.0, 1.0 - sum(alone) - sum(together)),
    )


def _shares(surface: np.ndarray) -> np.ndarray:
    """Of one tree that varies: those of each axis alone, then those of each pair of axes."""
    # From its middle and to its size: a small variance is no difference of large numbers.
    surface = surface - surface.flat[0]
    surface = surface / np.abs(surface).max()
    surface -= surface.mean()
    axes = range(surface.ndim)
    mains = [_mean(surface, [i]) for i in axes]
    beyond = [
        _mean(surface, [i, j]) - mains[i][:, None] - mains[j][None]
        for i, j in combinations(axes, 2)
    ]
    variances = np.array([np.mean(part**2) for part in (*mains, *beyond)])
    return variances / max(np.mean(surface**2), variances.sum())


def _mean(surface: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """The mean over all axes except `axes`."""
    return surface.mean(tuple(i for i in range(surface.ndim) if i not in axes))
