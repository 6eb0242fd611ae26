"""What levels are like (Summerville and Mateas, 2016; Snodgrass and Ontañón), and what of them is copied."""

from collections.abc import Sequence

import numpy as np

from seqjax.tasks.platformer import EMPTY, ENEMY, SOLID, Level, finish

WINDOW = 8  # columns
INTERESTING = frozenset("SQ?Bb<>[]Eo")


def metrics_of(level: Level) -> dict[str, float]:
    """Numbers that describe a level.

    "finished": 1 if it can be finished; "empty": share of empty tiles; "interesting": of those that are neither
    empty nor ground; "on_path": of those that the way touches, NaN if there is none; "leniency": pits and enemies for 100
    columns; "linearity": R² of the heights of what can be stood on, by column.
    """
    tiles = np.array([list(row) for row in level])
    way = finish(level)
    columns = tiles.shape[1]
    pits = int(np.sum(~np.isin(tiles, list(SOLID)).any(0)))
    return {
        "finished": float(way is not None),
        "empty": float(np.mean(tiles == EMPTY)),
        "interesting": float(np.mean(np.isin(tiles, list(INTERESTING)))),
        "on_path": len(set(way)) / tiles.size if way is not None else float("nan"),
        "leniency": 100 * (pits + int(np.sum(tiles == ENEMY))) / columns,
        "linearity": _linearity(tiles),
    }


def _linearity(tiles: np.ndarray) -> float:
    solid = np.isin(tiles, list(SOLID))
    some = solid.any(0)
    if some.sum() < 3:
        return 0.0
    x = np.flatnonzero(some)
    y = tiles.shape[0] - solid[:, some].argmax(0)
    if y.std() == 0:
        return 1.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def copied(level: Level, windows: set[Level]) -> float:
    """The share of windows of eight columns that stand in training, tile for tile."""
    own = windows_of([level])
    return float(np.mean([window in windows for window in own])) if own else 0.0


def windows_of(levels: Sequence[Level]) -> list[Level]:
    """All windows of eight columns."""
    return [
        tuple(row[start : start + WINDOW] for row in level)
        for level in levels
        if level
        for start in range(len(level[0]) - WINDOW + 1)
    ]


def mean_of(levels: Sequence[Level]) -> dict[str, float]:
    """The means of the metrics, each over the levels that have it; NaN if none has."""
    rows = [metrics_of(level) for level in levels]
    return {name: _mean_of_known([row[name] for row in rows]) for name in rows[0]}


def _mean_of_known(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
