"""The tables of all parts, and the figure of the first."""

from typing import Any

from experiments.common import plots, tables
from experiments.common.study_run import StudyRun
from experiments.parallel_in_time import parity
from seqjax.fast_scan.newton import MOST_ITERATIONS


def newton_table(rows: dict[str, dict[str, Any]]) -> str:
    """Iterations by length, "!" where it fell back to the loop, with the largest difference from it."""
    lengths = next(iter(rows.values()))["T"]
    lines = [
        [
            name,
            *(
                f"{count}{'!' if fell else ''} ({error:.0e})"
                for count, fell, error in zip(
                    row["iterations"], row["fell_back"], row["error"], strict=True
                )
            ),
            f"{row['lyapunov']:.3f}",
        ]
        for name, row in rows.items()
    ]
    head = ["Newton's method", *(f"T = {n:,}" for n in lengths), "Lyapunov"]
    return tables.table(head, lines)


def speed_table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        [
            name,
            way,
            f"{1000 * found['seconds']:.1f}",
            f"{row['lax.scan']['seconds'] / found['seconds']:.2f}",
            f"{found['bytes'] / 2**20:.1f}",
            f"{found['compile']:.1f}",
            f"{found['work'] / 1e6:.3g}",
            f"{found['depth']:,.0f}",
        ]
        for name, row in rows.items()
        for way, found in row.items()
    ]
    head = [
        "one gradient",
        "way",
        "ms",
        "times lax.scan",
        "MiB",
        "compile s",
        "work, million",
        "depth",
    ]
    return tables.table(head, lines, flush_left=2)


def copying_table(rows: dict[str, dict[str, Any]]) -> str:
    head = ["selective copying", "units", "parameters", "symbols right", "training nats"]
    return tables.table(head, [learnt(name, row) for name, row in rows.items()])


def learnt(name: str, row: dict[str, Any]) -> list[str]:
    """A network's size, and what it has learnt."""
    size = [f"{row['units']}", f"{row['parameters']:,}"]
    return [name, *size, f"{row['accuracy']:.3f}", f"{row['loss']:.3f}"]


def parity_table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        [name, f"{row['units']}", f"{row['within']:.3f}", f"{row['beyond']:.3f}"]
        for name, row in rows.items()
    ]
    within, beyond = f"right to {parity.LENGTH} bits", f"right after, to {parity.LONGEST}"
    return tables.table(["running parity", "units", within, beyond], lines)


def generation_table(rows: dict[str, dict[str, Any]]) -> str:
    lengths = next(iter(rows.values()))["T"]
    lines = [
        [name, f"{row['state']:,}", *(f"{rate:,.0f}" for rate in row["tokens_per_second"])]
        for name, row in rows.items()
    ]
    head = ["tokens a second", "numbers of state", *(f"{n:,} tokens" for n in lengths)]
    return tables.table(head, lines)


def pixels_table(rows: dict[str, dict[str, Any]]) -> str:
    steps = next(iter(rows.values()))["T"]
    head = [
        f"images in {steps} pixels",
        "units",
        "parameters",
        "test images right",
        "training nats",
        "s",
    ]
    lines = [[*learnt(name, row), f"{row['seconds']:.0f}"] for name, row in rows.items()]
    return tables.table(head, lines)


def figure(study: StudyRun, rows: dict[str, dict[str, Any]]) -> None:
    """Iterations against the scale of the recurrent weights, at the longest T.

    What fell back stands at the greatest number of iterations, as an open circle.
    """
    lines: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for name, row in rows.items():
        cell, _, scale = name.partition(", x ")
        if scale:
            lines.setdefault(cell, []).append((float(scale), row))
    with plots.panels(study.workdir / "iterations.png") as (axes,):
        for place, (cell, found) in enumerate(lines.items()):
            scales = [scale for scale, _ in found]
            fell = [row["fell_back"][-1] for _, row in found]
            counts = [
                MOST_ITERATIONS if fallen else row["iterations"][-1]
                for (_, row), fallen in zip(found, fell, strict=True)
            ]
            colour = plots.COLOURS[place % len(plots.COLOURS)]
            style = plots.LINES[place % len(plots.LINES)]
            axes.plot(scales, counts, style, color=colour, label=cell)
            for at, count, fallen in zip(scales, counts, fell, strict=True):
                axes.plot(at, count, "o", color=colour, mfc="white" if fallen else colour)
        axes.legend(frameon=False)
        plots.label(
            axes,
            xlabel="recurrent weights, times those at the start",
            ylabel="iterations",
            title="Newton's method on all steps at once (open: walked step by step after all)",
        )
