"""One plain style for all figures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":")


def curve(
    path: Path,
    lines: dict[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    levels: dict[str, float] | None = None,
) -> None:
    """Draws named `(x, y)` lines, and named horizontal `levels` beside them, to a PNG file."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for i, (name, (x, y)) in enumerate(lines.items()):
        style = LINES[i % len(LINES)]
        marker = "o" if len(x) < 40 else None
        axes.plot(x, y, style, color=COLOURS[i % len(COLOURS)], label=name, marker=marker, ms=3)
    for i, (name, value) in enumerate((levels or {}).items()):
        axes.axhline(value, color="0.35", linestyle=LINES[(i + 1) % len(LINES)], linewidth=1)
        axes.annotate(
            f"{name}: {value:.4g}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            color="0.25",
            fontsize=9,
        )
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
