"""Pictures of labels: scores with their intervals over floors, and what is taken for what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.common.intervals import half_width


def dots(
    axes: Any,
    scores: Mapping[str, Sequence[float]],
    levels: Mapping[str, float],
    xlabel: str,
    title: str,
) -> None:
    """One line for each network, its mean and interval; vertical lines for what it is beside."""
    for place, values in enumerate(scores.values()):
        half = half_width(np.array(values))
        colour = plots.COLOURS[place % len(plots.COLOURS)]
        error = None if np.isnan(half) else [[half], [half]]
        axes.errorbar(np.mean(values), -place, xerr=error, fmt="o", color=colour, capsize=3)
    axes.set_yticks([-i for i in range(len(scores))], list(scores))
    highest = dict(sorted(levels.items(), key=lambda pair: pair[1])[-4:])
    for line, (name, value) in zip(plots.LINES, highest.items(), strict=False):
        axes.axvline(value, color="0.4", linestyle=line, linewidth=1, label=f"{name}: {value:.3f}")
    axes.set_ylim(-len(scores) - 0.35 * len(highest), 0.5)
    if highest:
        axes.legend(frameon=False, fontsize=7, loc="lower left")
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
