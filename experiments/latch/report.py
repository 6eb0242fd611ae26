"""The table and the figures of `experiments.latch`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots, tables
from experiments.latch.task import fixed_point

# Fig. 2b of Bengio, Simard and Frasconi (1994), read off the scanned page.
PUBLISHED = {
    5: 1.0,
    10: 1.0,
    13: 1.0,
    15: 0.98,
    18: 0.88,
    20: 0.81,
    22: 0.75,
    23: 0.67,
    24: 0.52,
    25: 0.57,
    26: 0.44,
    28: 0.46,
    30: 0.30,
    32: 0.24,
    35: 0.26,
    38: 0.17,
    40: 0.45,
    41: 0.16,
    45: 0.12,
    50: 0.05,
    60: 0.05,
}
COMPARED = (10, 15, 20, 30, 50)  # lengths at which the two curves are compared
CRITERION = "success: x_T has the right sign on every training sequence"


Line = tuple[str, str, str, str]  # statement, published value, ours, protocol


def table(results: dict[str, Any]) -> str:
    """Statement, published value, ours and protocol: plain text, one line each."""
    curves = results["curves"]
    lines = [
        *length_lines(curves),
        *grid_lines(results["grid"]),
        *guess_lines(curves["guessed"]),
        *cause_lines(curves),
        two_sequence_line(results["two_sequence"]),
        *unit_lines(curves),
    ]
    head = ("statement", "published", "ours", "protocol")
    return (
        f"{tables.table(head, lines, flush_left=len(head))}\n"
        f"{CRITERION}; in brackets Wilson's 95 % interval.\n"
        "* a public re-run of Hochreiter and Schmidhuber's remark (1997); its criterion is not known,"
        " and its sequences and readout may differ from ours."
    )


def length_lines(curves: dict[str, Any]) -> Iterator[Line]:
    """Fig. 2b: success at some lengths, and how far our curves are from the published one."""
    for name, protocol in (
        ("w trained", "8 seqs/class, lr .02"),
        ("w trained at rate 0.05", "8 seqs/class"),
        ("w trained at rate 0.1", "8 seqs/class"),
        ("w fixed", "3 seqs/class, lr .5"),
    ):
        points = {row["T"]: row for row in curves[name]}
        for length in COMPARED:
            if length in points:
                statement, published = f"Fig. 2b, success at T={length}", f"{PUBLISHED[length]:.2f}"
                yield statement, published, success(points[length]), f"{name}, {protocol}"
        distance, where = worst(curves[name])
        yield "largest distance there", "-", f"{distance:.3f} at T={where}", name
        theirs = half_point(list(PUBLISHED), list(PUBLISHED.values()))
        ours = half_point(*line(curves[name], "success"))
        yield "success falls to 1/2 at T", shown(theirs), shown(ours), name


def grid_lines(grid: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """Fig. 2a: mean success in the regions that can be read off the published figure."""
    for statement, published, inside in ISLAND:
        values = [
            share
            for row in grid
            for s, share in zip(row["noise"], row["success"], strict=True)
            if inside(row["w0"], s)
        ]
        ours = f"{np.mean(values):.2f}" if values else "-"
        protocol = "T=20, w trained, mean of cells"
        yield f"Fig. 2a, success for {statement}", published, ours, protocol


def guess_lines(guessed: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """How many random guesses the latch takes."""
    for row in guessed:
        if row["T"] in COMPARED:
            ours = f"median {shown(row['guesses'], 0)}, test error {row['test_error']:.3f}"
            yield f"guesses for the latch, T={row['T']}", "-", ours, "7 numbers from U(-2, 2)"


def cause_lines(curves: dict[str, Any]) -> Iterator[Line]:
    """What each cause of failure does alone at the greatest length, and the error on fresh noise."""
    last = curves["w fixed"][-1]["T"]
    for name, statement in (
        ("no noise, w fixed", "vanishing gradient alone"),
        ("set by hand", "flips by noise alone"),
        ("no noise, w trained", "no noise, but w learns"),
    ):
        yield f"success at T={last}, {statement}", "-", success(curves[name][-1]), name
    for name in ("w trained", "w fixed"):
        row = curves[name][-1]
        ours = f"{row['test_error']:.2f} (no noise: {1 - row['latches']:.2f} of runs fail)"
        yield f"error on fresh noise, T={last}", "-", ours, name


def two_sequence_line(two: dict[str, Any]) -> Line:
    ours = f"{two['solved']}/{two['runs']}, median {shown(two['guesses'], 0)}"
    published = "30/30, median 144 *"
    return "guesses, 2-sequence, T=100", published, ours, "5 tanh units, 25 from U(-1, 1)"


def unit_lines(curves: dict[str, Any]) -> Iterator[Line]:
    """Other units, at the greatest length."""
    for name in (name for name in curves if name.startswith("unit")):
        row = curves[name][-1]
        statement = f"{unit_label(name)}, T={row['T']}"
        yield statement, "-", success(row), "8 seqs/class, Adam .01"


def success(row: dict[str, Any]) -> str:
    """The share of runs that succeed, and Wilson's interval."""
    return f"{row['success']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


# What can be read off Fig. 2a, where white is success in all 18 runs of a cell.
ISLAND = (
    ("w0 < 1", "black", lambda w0, s: w0 < 0.99),
    ("s > .4", "black", lambda w0, s: s > 0.41),
    ("w0 in [1.3, 1.8], s <= .3", "white", lambda w0, s: 1.29 < w0 < 1.81 and s < 0.31),
    ("w0 > 2, s < .2", "white, speckled", lambda w0, s: w0 > 2.01 and s < 0.19),
)


def unit_label(name: str) -> str:
    """The name of a curve of one of the other units, as the table and the figures print it."""
    name = name.removeprefix("unit ")
    return "tanh of the paper, no readout" if name == "paper" else name


def line(rows: Sequence[dict[str, Any]], name: str) -> tuple[list, list]:
    """`(T, values)` of one number of a curve."""
    return [row["T"] for row in rows], [row[name] for row in rows]


def worst(rows: Sequence[dict[str, Any]]) -> tuple[float, int]:
    """The largest distance from the published curve, and its T; (nan, 0) without a common T."""
    distances = [
        (abs(row["success"] - PUBLISHED[row["T"]]), row["T"])
        for row in rows
        if row["T"] in COMPARED
    ]
    return max(distances, default=(float("nan"), 0))


def half_point(lengths: Sequence[int], shares: Sequence[float]) -> float | None:
    """The first T at which a share falls to one half, interpolated; None if it never does."""
    for i in range(1, len(lengths)):
        above, below = shares[i - 1], shares[i]
        if above > 0.5 >= below:
            part = (above - 0.5) / (above - below)
            return lengths[i - 1] + part * (lengths[i] - lengths[i - 1])
    return None


def shown(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def draw(workdir: Path, results: dict[str, Any]) -> None:
    """Writes the four figures."""
    curves = results["curves"]
    draw_length(workdir / "latch_length.png", curves, results.get("noise", 0.2))
    draw_grid(workdir / "latch_noise.png", results["grid"])
    draw_causes(workdir / "latch_causes.png", curves)
    draw_units(workdir / "latch_units.png", curves)


def band(axes: Any, rows: Sequence[dict[str, Any]], i: int, label: str) -> None:
    """A curve of successes with its intervals, in the i-th style."""
    lengths, shares = line(rows, "success")
    colour = plots.COLOURS[i]
    style = plots.LINES[i % len(plots.LINES)]
    axes.plot(lengths, shares, style, color=colour, marker="osD^v*"[i], ms=4, label=label)
    axes.fill_between(
        lengths, line(rows, "low")[1], line(rows, "high")[1], color=colour, alpha=0.15, linewidth=0
    )


def draw_length(path: Path, curves: dict[str, Any], noise: float) -> None:
    """Fig. 2b: our curves and the published points."""
    with plots.panels(path) as (axes,):
        band(axes, curves["w trained"], 0, "w trained from 1.25, 8 sequences a class, rate 0.02")
        for rate, style in (("0.05", "--"), ("0.1", ":")):
            lengths, shares = line(curves[f"w trained at rate {rate}"], "success")
            axes.plot(lengths, shares, style, color="0.45", lw=1, label=f"the same, rate {rate}")
        band(axes, curves["w fixed"], 1, "w fixed at 1.25, 3 sequences a class, rate 0.5")
        band(axes, curves["guessed"], 2, "random guessing, 8 sequences a class")
        axes.plot(
            list(PUBLISHED),
            list(PUBLISHED.values()),
            "kX",
            ms=6,
            label="Bengio et al. (1994), Fig. 2b, digitised",
            zorder=5,
        )
        axes.annotate(
            "an outlier in print, too",
            (40, PUBLISHED[40]),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
        )
        plots.label(
            axes,
            xlabel=f"sequence length T\n({CRITERION})",
            ylabel="share of runs that succeed",
            title=f"One tanh unit learns to hold one bit, noise s = {noise:g}",
        )
        axes.set_ylim(-0.02, 1.34)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def draw_grid(path: Path, grid: Sequence[dict[str, Any]]) -> None:
    """Fig. 2a: our grid, and the edges that can be read off the published one."""
    weights, levels = [row["w0"] for row in grid], grid[0]["noise"]
    with plots.panels(path) as (axes,):
        image = axes.pcolormesh(
            levels,
            weights,
            [row["success"] for row in grid],
            cmap="gray",
            vmin=0,
            vmax=1,
            shading="nearest",
        )
        axes.figure.colorbar(image, ax=axes, label="share of runs that succeed")
        axes.axhline(1.0, color=plots.COLOURS[1], linestyle="--", linewidth=1.5)
        axes.axvline(0.4, color=plots.COLOURS[5], linestyle="-.", linewidth=1.5)
        for text, place, colour in (
            ("published: black below w₀ = 1", (0.98, 0.9), plots.COLOURS[1]),
            ("published: black\nright of s = 0.4", (0.98, 2.2), plots.COLOURS[5]),
        ):
            axes.text(*place, text, color=colour, ha="right", va="center", fontsize=9)
        plots.label(
            axes,
            xlabel="standard deviation s of the noise",
            ylabel="weight w₀ before training",
            title="Where one tanh unit learns to latch: T = 20, L = 3",
        )
        axes.grid(False)


def draw_causes(path: Path, curves: dict[str, Any]) -> None:
    """The effect of each of the two causes alone, and the gradient itself."""
    with plots.panels(path, 2) as (left, right):
        band(left, curves["no noise, w trained"], 2, "no noise, w trained from 1.25")
        band(left, curves["no noise, w fixed"], 0, "no noise, w fixed: vanishing gradient alone")
        band(left, curves["set by hand"], 1, "w fixed, inputs ±1 set by hand: flips alone")
        band(left, curves["w fixed"], 3, "w fixed, learned in noise: both causes")
        plots.label(
            left,
            xlabel="sequence length T",
            ylabel="share of runs that succeed",
            title="Two causes of failure, 3 sequences a class",
        )
        left.set_ylim(-0.02, 1.45)
        left.set_yticks([0, 0.25, 0.5, 0.75, 1])
        left.legend(frameon=False, fontsize=8.5, loc="upper right")
        draw_gradient(right, curves["w fixed"])


def draw_gradient(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    """The gradient of the first input before and after learning, beside its theory."""
    for i, (name, text) in enumerate(
        (("gradient_start", "before learning"), ("gradient_end", "after learning"))
    ):
        x, y = line(rows, name)
        style = {"color": plots.COLOURS[i], "marker": "os"[i], "ms": 4}
        axes.plot(x, y, plots.LINES[i], label=f"{text}, w = 1.25", **style)
    lengths = np.array(line(rows, "T")[0])
    factor = 1.25 * (1 - fixed_point(1.25) ** 2)
    axes.plot(
        lengths,
        factor ** (lengths - 1),
        ":",
        color="0.2",
        label=f"[w(1 - x*²)]ᵀ⁻¹ = {factor:.2f}ᵀ⁻¹, latched from the start",
    )
    plots.label(
        axes,
        xlabel="sequence length T",
        ylabel="median |∂x_T/∂h₁|, without noise",
        title="The gradient of the first input",
    )
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8.5)


def draw_units(path: Path, curves: dict[str, Any]) -> None:
    """Success and gradient of the other units on the same task."""
    names = [name for name in curves if name.startswith("unit")]
    with plots.panels(path, 2) as (left, right):
        for i, name in enumerate(names):
            label = unit_label(name)
            band(left, curves[name], i, label)
            x, y = line(curves[name], "gradient_start")
            style = plots.LINES[i % len(plots.LINES)]
            right.plot(x, y, style, color=plots.COLOURS[i], marker="osD^v*"[i], ms=4, label=label)
        plots.label(
            left,
            xlabel=f"sequence length T\n({CRITERION})",
            ylabel="share of runs that succeed",
            title="One unit of each kind, Adam, 8 sequences a class",
        )
        left.set_ylim(-0.02, 1.02)
        left.legend(frameon=False, fontsize=8.5, loc="lower left")
        plots.label(
            right,
            xlabel="sequence length T",
            ylabel="median |∂x_T/∂h₁|, without noise",
            title="... and its gradient before learning",
        )
        right.set_yscale("log")
