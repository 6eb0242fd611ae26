"""Pictures of labels: scores with their intervals beside floors, and what is taken for what."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.common.intervals import half_width


def dots(
    axes: Any,
    scores: Mapping[str, Sequence[float]],
    floors: Mapping[str, float],
    published: Mapping[str, float],
    *,
    xlabel: str,
    title: str,
) -> None:
    """A row for each network, its mean and interval; then baselines, and what was published."""
    for place, values in enumerate(scores.values()):
        half = half_width(np.array(values))
        colour = plots.COLOURS[place % len(plots.COLOURS)]
        error = None if np.isnan(half) else [[half], [half]]
        axes.errorbar(np.mean(values), -place, xerr=error, fmt="o", color=colour, capsize=3)
    names = [*scores, *floors, *published]
    for others, marker, first in (
        (floors, "s", len(scores)),
        (published, "D", len(scores) + len(floors)),
    ):
        places = [-first - i for i in range(len(others))]
        axes.plot(list(others.values()), places, marker, color="0.45", ms=4, mfc="none")
    wrapped = ["\n".join(textwrap.wrap(name, 34)) for name in names]
    size = 7 if len(names) < 12 else 5.5
    axes.set_yticks([-i for i in range(len(names))], wrapped, fontsize=size)
    for first in (len(scores), len(scores) + len(floors)):
        if first < len(names):
            axes.axhline(0.5 - first, color="0.8", linewidth=0.8)
    plots.label(axes, xlabel=xlabel, ylabel="", title=title)


def confusion_matrix(axes: Any, counts: np.ndarray, labels: Sequence[str], title: str) -> None:
    """How often each true label (row) was given as each label (column), shaded by the row's share."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(labels) < 8 else 5
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            ink = "white" if shares[row, column] > 0.5 else "black"
            number = str(counts[row, column])
            axes.text(column, row, number, ha="center", va="center", color=ink, fontsize=size)
    places = range(len(labels))
    turned = 0 if len(labels) < 8 else 90
    axes.set_xticks(places, labels, rotation=turned, fontsize=max(size, 6))
    axes.set_yticks(places, labels, fontsize=max(size, 6))
    axes.set(xlabel="network's label", ylabel="true label", title=title)
