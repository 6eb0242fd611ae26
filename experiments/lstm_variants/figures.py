"""The figures of the search: best tenths, shares of the variance, all trials, time."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.plots import COLOURS, label, level, panels
from experiments.lstm_variants.analysis import (
    LETTERS,
    PUBLISHED_BEST,
    VANILLA,
    P,
    Rows,
    best_tenth,
    is_jsb,
)
from experiments.lstm_variants.fanova import Shares


def draw(
    workdir: Path,
    results: dict[str, Any],
    variants: dict[str, Rows],
    shares: Shares | None,
    ranges: dict[str, Any],
) -> None:
    """Draws variants.png, shares.png, learning_rate.png and seconds.png."""
    boxes(workdir / "variants.png", results, variants)
    rates(workdir / "learning_rate.png", results["task"], variants)
    seconds(workdir / "seconds.png", variants)
    if shares is not None:
        importance(workdir / "shares.png", shares, ranges, results["task"])


def boxes(path: Path, results: dict[str, Any], variants: dict[str, Rows]) -> None:
    """The best tenth of each variant as a box and points, its mean parameters below its name."""
    names = list(variants)
    tests = [[row["test"] for row in best_tenth(variants[name])] for name in names]
    with panels(path) as (axes,):
        for i, (name, values) in enumerate(zip(names, tests, strict=True)):
            if not values:
                continue
            differs = results["variants"][name]["verdict"] in ("worse", "better")
            colour = COLOURS[1] if differs else COLOURS[0]
            axes.boxplot(
                [values],
                positions=[i],
                widths=0.5,
                showfliers=False,
                boxprops={"color": colour, "linewidth": 2 if differs else 1},
                medianprops={"color": colour},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
            axes.plot([i] * len(values), values, "o", ms=3, color=colour, alpha=0.6)
        if is_jsb(results["task"]):
            level(axes, f"published best: {PUBLISHED_BEST}", PUBLISHED_BEST)
        sizes = [(results["variants"][name]["parameters"] or 0) / 1000 for name in names]
        ticks = [f"{LETTERS.get(n, n)}\n{size:.0f}k" for n, size in zip(names, sizes, strict=True)]
        axes.set_xticks(range(len(names)), ticks)
        unit = results["task"].get("unit", "")
        label(
            axes,
            xlabel="variant, and mean parameters of its best tenth",
            ylabel=f"test, {unit}",
            title="Best tenth of each variant",
        )
        axes.plot([], [], color=COLOURS[1], linewidth=2, label=f"differs from V, p < {P}")
        axes.plot([], [], color=COLOURS[0], label="does not")
        axes.legend(frameon=False, loc="upper left", fontsize=9)


def rates(path: Path, task: dict[str, Any], variants: dict[str, Rows]) -> None:
    """The test result of every trial against its learning rate; V stands out."""
    with panels(path) as (axes,):
        tests = [row["test"] for rows in variants.values() for row in rows]
        finite = [test for test in tests if math.isfinite(test)]
        top = task["baseline"] or max(finite, default=1.0)
        for name, rows in variants.items():
            mine = name == VANILLA
            axes.plot(
                [row["learning_rate"] for row in rows],
                [min(row["test"], top * 1.05) for row in rows],
                "o" if mine else "x",
                color=COLOURS[1] if mine else "0.6",
                ms=5 if mine else 4,
                label="V" if mine else None,
                zorder=3 if mine else 2,
            )
        axes.plot([], [], "x", color="0.6", label="variants")
        if task["baseline"]:
            axes.axhline(top, color="0.35", linestyle="--", linewidth=1, label="independent notes")
        axes.set_xscale("log")
        label(
            axes,
            xlabel="learning rate",
            ylabel=f"test, {task.get('unit', '')}",
            title="Every trial (those above the top, and those that diverged, at the top)",
        )
        axes.legend(frameon=False, fontsize=9)


def seconds(path: Path, variants: dict[str, Rows]) -> None:
    """Seconds for one epoch of one trial, against its hidden units."""
    with panels(path) as (axes,):
        for i, (name, rows) in enumerate(variants.items()):
            timed = sorted(
                (row["hidden_size"], row["seconds_per_epoch"])
                for row in rows
                if math.isfinite(row["seconds_per_epoch"])
            )
            if timed:
                x, y = zip(*timed, strict=True)
                style = ("-", "--", ":")[i // len(COLOURS)]
                colour = COLOURS[i % len(COLOURS)]
                axes.plot(x, y, style, color=colour, marker=".", label=LETTERS.get(name, name))
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = [row["hidden_size"] for rows in variants.values() for row in rows]
        ticks = [n for n in (5, 10, 20, 50, 100, 200) if min(sizes) <= n <= max(sizes)]
        axes.set_xticks(ticks, ticks)
        axes.set_xticks([], minor=True)
        title = "Time of one epoch of one trial in its chunk"
        label(axes, xlabel="hidden units", ylabel="seconds", title=title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, ncols=3, fontsize=8)


def importance(path: Path, shares: Shares, ranges: dict[str, Any], task: dict[str, Any]) -> None:
    """Shares of the variance as bars, and the forest's result over learning rate and size."""
    with panels(path, 2) as (bars, heat):
        draw_shares(bars, shares, is_jsb(task))
        surface = shares.surfaces[("learning_rate", "hidden_size")]
        draw_surface(heat, surface, ranges, f"test, {task.get('unit', '')}")


def draw_shares(axes: Any, shares: Shares, published: bool) -> None:
    """A bar for each hyperparameter alone, and one for each pair; the published share where it is of these data."""
    names = [*shares.alone, *(" x ".join(pair) for pair in shares.pairs)]
    values = [*shares.alone.values(), *shares.pairs.values()]
    names = [name.replace("learning_rate", "rate").replace("_", " ") for name in names]
    colours = [COLOURS[0]] * len(shares.alone) + [COLOURS[5]] * len(shares.pairs)
    axes.barh(range(len(names)), values, color=colours)
    if published:
        axes.axvline(2 / 3, color="0.35", linestyle="--", linewidth=1)
        axes.annotate(
            "published: rate > 2/3",
            (2 / 3, len(names) - 1),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color="0.25",
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    label(axes, xlabel="share of the variance", ylabel="", title="What explains the result")


def draw_surface(axes: Any, surface: np.ndarray, ranges: dict[str, Any], unit: str) -> None:
    """The forest's result over learning rate (across) and hidden units (up), both logarithmic."""
    low, high, fewest, most = (
        math.log10(ranges[name]) for name in ("rate_min", "rate_max", "hidden_min", "hidden_max")
    )
    image = axes.imshow(
        surface.T,
        origin="lower",
        aspect="auto",
        cmap="viridis_r",
        extent=(low, high, fewest, most),
    )
    axes.figure.colorbar(image, ax=axes, label=unit)
    ticks = [n for n in (20, 50, 100, 200) if ranges["hidden_min"] <= n <= ranges["hidden_max"]]
    axes.set_yticks([math.log10(n) for n in ticks], ticks)
    powers = range(math.ceil(low), math.floor(high) + 1)
    axes.set_xticks(list(powers), [f"1e{n}" for n in powers])
    title = "Mean over the other hyperparameters"
    axes.set(xlabel="learning rate", ylabel="hidden units", title=title)
