"""Levels as pictures, in the colours of their tiles, with the way through them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.common import plots
from seqjax.tasks.platformer import Level, finish

COLOURS = {
    **{"-": (0.55, 0.75, 0.95), "X": (0.55, 0.35, 0.2), "S": (0.75, 0.45, 0.25)},
    **{"?": (0.95, 0.75, 0.1), "Q": (0.75, 0.6, 0.3), "E": (0.8, 0.1, 0.1), "o": (1, 0.9, 0.3)},
    **{
        "<": (0.1, 0.55, 0.2),
        ">": (0.1, 0.55, 0.2),
        "[": (0.1, 0.45, 0.15),
        "]": (0.1, 0.45, 0.15),
    },
    **{"B": (0.2, 0.2, 0.2), "b": (0.35, 0.35, 0.35)},
}


def draw(path: Path, levels: Sequence[tuple[str, Level]], *, columns: int = 120) -> None:
    """Draws the beginnings of named levels one below the other."""
    figure, axes = plots.pyplot().subplots(
        len(levels), 1, figsize=(12, 1.7 * len(levels)), layout="constrained", squeeze=False
    )
    for panel, (name, level) in zip(axes[:, 0], levels, strict=True):
        can_be_finished = finish(level) is not None  # also past what is shown
        shown = tuple(row[:columns] for row in level)
        panel.imshow(np.array([[COLOURS[tile] for tile in row] for row in shown]))
        way = finish(shown)
        if way is not None:
            rows, places = zip(*way, strict=True)
            panel.plot(places, np.maximum(rows, 0), color="white", linewidth=1)
        panel.set_title(
            f"{name}{'' if can_be_finished else ': cannot be finished'}", fontsize=8, loc="left"
        )
        panel.set_xticks([])
        panel.set_yticks([])
    plots.save(figure, path)
    plots.pyplot().close(figure)
