"""The report of `experiments.speed`: means, growth exponents, tables and two charts."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.speed.peers import PEERS
from experiments.speed.summary import draw, markdown, mean, summary
from experiments.speed.work import Case
from seqjax.files.json import write_json
from seqjax.files.writing import write_atomically


def title(row: dict[str, Any]) -> str:
    """The name of a case: cell, shape and kind of work."""
    return f"{row['cell']} {shape_of(row)} {row['kind']}"


def shape_of(row: dict[str, Any]) -> str:
    """The shape of a case as --shapes takes it."""
    return "x".join(str(row[name]) for name in Case._fields[3:])


def show(row: dict[str, Any]) -> str:
    """The times of a case in one line, with their ratios in brackets."""
    parts = []
    for peer, figure in row["peers"].items():
        rate = figure.get("tokens_per_second")
        parts.append(f"  {peer} {figure['median_ms']:.4g} ms")
        parts += [f", {rate:,.0f} tokens/s"] if rate else []
        updates = figure.get("updates_per_second")
        parts += [f", {updates:,.1f} updates/s"] if updates else []
        parts += [f" ({row['ratios'][peer]:.2f})"] if peer in row["ratios"] else []
    parts += [f"  [{peer}: {why}]" for peer, why in row["skipped"].items()]
    return f"{title(row)}:{''.join(parts)}"


def report(workdir: Path, results: dict[str, Any]) -> None:
    """Adds means and exponents to `results`, and writes all files."""
    lines = growth_lines(results["cases"])
    results["geometric_means"] = geometric_means(results["cases"])
    results["growth_exponents"] = {
        name: float(np.polyfit(np.log([x for x, _ in line]), np.log([y for _, y in line]), 1)[0])
        for name, line in lines.items()
        if len({x for x, _ in line}) > 1
    }
    found = summary(results["cases"])
    results["summary"] = {q: {p: mean(r) for p, r in of.items()} for q, of in found.items()}
    write_json(workdir / "results.json", results)
    text = table(results) + (f"\n{whole}" if (whole := markdown(found)) else "")
    write_atomically(workdir / "table.md", text)
    draw(workdir / "ratios.png", found)
    draw_growth(workdir / "growth.png", lines, results["growth_exponents"])
    print(f"\n{text}\nresults.json, table.md and figures are in {workdir}")


def geometric_means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """seqjax's speed as a multiple of each peer's, the mean over the training of LSTMs and GRUs.

    Once by medians, and once by the fastest calls, which other programs disturb less.
    """
    rows = [r for r in rows if (r["suite"], r["kind"]) == ("peers", "train") and r["ratios"]]
    rows = [row for row in rows if row["cell"] in ("lstm", "gru")]
    means = {}
    for ours in (("seqjax",), ("seqjax", "seqjax_2dev")):
        for field in ("median_ms", "min_ms"):
            logs: dict[str, list[float]] = {peer: [] for peer in PEERS if peer not in ours}
            for times in ({p: f[field] for p, f in row["peers"].items()} for row in rows):
                best = min(times[peer] for peer in ours if peer in times)
                for peer in logs.keys() & times.keys():
                    logs[peer].append(math.log(times[peer] / best))
            name = f"{' or '.join(ours)}, {field}"
            means[name] = {p: math.exp(float(np.mean(of))) for p, of in logs.items() if of}
    return means


def growth_lines(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The lines of the suite growth, over T and over H: `{"T, lstm, plain": [(T, ms), ...], ...}`."""
    lines: dict[str, list[tuple[int, float]]] = {}
    rows = [row for row in rows if row["suite"] == "growth"]
    for row in rows:
        widths = {other["hidden_size"] for other in rows if other["batch"] == row["batch"]}
        axis, size = ("H", row["hidden_size"]) if len(widths) > 1 else ("T", row["steps"])
        for peer, figure in row["peers"].items():
            name = f"{axis}, {row['cell']}, {peer}"
            lines.setdefault(name, []).append((size, figure["median_ms"]))
    return lines


def table(results: dict[str, Any]) -> str:
    """Markdown: a table for each suite, then means, exponents and tokens per second."""
    text = ""
    for suite in dict.fromkeys(row["suite"] for row in results["cases"]):
        rows = [row for row in results["cases"] if row["suite"] == suite]
        peers = [p for p in PEERS if p != "seqjax" and any(p in row["ratios"] for row in rows)]
        lines = [[f"{suite}, BxTxDxHxlayers", "seqjax, ms", *peers], ["---"] * (2 + len(peers))]
        for row in rows:
            ours = (
                f"{row['peers']['seqjax']['median_ms']:.4g}"
                if "seqjax" in row["peers"]
                else "failed"
            )
            ratios = [f"{row['ratios'][p]:.2f}" if p in row["ratios"] else "" for p in peers]
            lines.append([title(row), ours, *ratios])
        if rows:
            text += "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
    text += "A peer's time as a multiple of seqjax's: above 1, seqjax is faster.\n"
    for name, means in results["geometric_means"].items():
        shown = ", ".join(f"{peer} {mean:.2f}" for peer, mean in means.items())
        text += f"\nGeometric mean over LSTM and GRU training, {name}: {shown}.\n" if shown else ""
    for name, exponent in results["growth_exponents"].items():
        text += f"\nTime grows as {name[0]} to the power {exponent:.2f} ({name[3:]}).\n"
    for row in results["cases"]:
        for peer, figure in row["peers"].items():
            if rate := figure.get("tokens_per_second"):
                text += f"\n{title(row)}, {peer}: {rate:,.0f} tokens/s.\n"
    return text


def draw_growth(path: Path, lines: dict[str, list], exponents: dict[str, float]) -> None:
    """Time of a training step over T, and over H."""
    titles = {"T": "steps T", "H": "inputs D and units H"}
    axes_names = [axis for axis in titles if any(name.startswith(axis) for name in lines)]
    if not lines:
        return
    figure, panels = plots.pyplot().subplots(
        1, len(axes_names), figsize=(4.5 * len(axes_names), 4), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels[0], axes_names, strict=True):
        for i, name in enumerate(name for name in lines if name.startswith(axis)):
            label = f"{name[3:]}: power {exponents.get(name, math.nan):.2f}"
            style = {"color": plots.COLOURS[i % 6], "marker": "os^v"[i % 4], "label": label}
            panel.loglog(*zip(*lines[name], strict=True), plots.LINES[i % 4], **style)
        panel.set(xlabel=titles[axis], ylabel="ms for one training step")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    plots.save(figure, path)
    plots.pyplot().close(figure)
