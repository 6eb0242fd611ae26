"""One plain style for all figures."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqjax.files.writing import write_bytes

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":")


def by_split(rows: Iterable[dict[str, Any]], metric: str) -> dict[str, tuple[list, list]]:
    """Rows of metrics.jsonl as one line per split: `(steps, values)`, nulls left out."""
    lines: dict[str, tuple[list, list]] = {}
    for row in rows:
        if row.get(metric) is not None:
            steps, values = lines.setdefault(row["split"], ([], []))
            steps.append(row["step"])
            values.append(row[metric])
    return lines


def curve(
    path: Path,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    levels: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """Draws named `(x, y)` lines, and named horizontal `levels` beside them, to a PNG file."""
    with panels(path) as (axes,):
        for i, (name, (x, y)) in enumerate(lines.items()):
            style = LINES[i % len(LINES)]
            marker = "o" if len(x) < 40 else None
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(x, y, style, color=colour, label=name, marker=marker, ms=3)
        for i, (name, value) in enumerate((levels or {}).items()):
            level(axes, f"{name}: {value:.4g}", value, LINES[(i + 1) % len(LINES)])
        label(axes, xlabel=xlabel, ylabel=ylabel, title=title)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        axes.legend(frameon=False)


def pyplot() -> Any:
    """matplotlib.pyplot without windows; imported where something is drawn, since it takes a second."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, path: Path) -> None:
    """Writes a figure to a PNG file, whole or not at all."""
    png = io.BytesIO()
    figure.savefig(png, dpi=150, format="png")
    write_bytes(path, png.getvalue())


@contextmanager
def panels(path: Path, columns: int = 1) -> Iterator[Sequence[Any]]:
    """Axes side by side, to draw on within the `with`; the PNG file is written at its end."""
    plt = pyplot()
    figure, axes = plt.subplots(
        1, columns, figsize=(7 if columns == 1 else 5.2 * columns, 4.2), layout="constrained"
    )
    try:
        yield (axes,) if columns == 1 else tuple(axes)
        save(figure, path)
    finally:
        plt.close(figure)


def level(axes: Any, name: str, value: float, line: str = "--") -> None:
    """A horizontal line with its name above its right end."""
    axes.axhline(value, color="0.35", linestyle=line, linewidth=1)
    axes.annotate(
        name,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        color="0.25",
        fontsize=9,
    )


def label(axes: Any, *, xlabel: str, ylabel: str, title: str) -> None:
    """Names the axes, in the style of all figures."""
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def label_ends(axes: Any, ends: Mapping[str, tuple[float, Any]], *, size: float = 9) -> None:
    """Names lines at the right of the axes, in their colours, in the place of a legend.

    Names that would cover one another are moved apart, in the order of their lines.

    Args:
      axes: whose limits are final.
      ends: by name, the height at which the line ends, and its colour.
      size: of the letters, in points.
    """
    low, high = axes.get_ylim()
    inches = axes.get_window_extent().height / axes.figure.dpi
    apart = 1.25 * size / 72 / inches * (high - low)
    names = sorted(ends, key=lambda name: ends[name][0])
    heights: list[float] = []
    for name in names:
        height = ends[name][0]
        heights.append(max(height, heights[-1] + apart) if heights else height)
    shift = sum(h - ends[n][0] for h, n in zip(heights, names, strict=True)) / max(1, len(names))
    for name, height in zip(names, heights, strict=True):
        axes.annotate(
            name,
            (1, height - shift),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=ends[name][1],
            fontsize=size,
        )
