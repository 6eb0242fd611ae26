"""The table beside the published one, the claims tested, and a figure."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.common.plots import COLOURS, label, panels
from experiments.common.published import TABLE_1, TABLE_1_TASKS
from experiments.common.tables import table

CONFIDENCE = 0.95
# Pairs of the paper's claims: the first is better, or no worse.
CLAIMS = (
    ("LSTM-b", "LSTM"),
    ("LSTM", "LSTM-f"),
    ("LSTM", "LSTM-i"),
    ("LSTM", "LSTM-o"),
    ("LSTM-o", "LSTM-i"),
    ("LSTM-f", "tanh"),
    ("GRU", "LSTM"),
    ("LSTM-b", "GRU"),
    ("MUT1", "GRU"),
    ("MUT2", "GRU"),
    ("MUT3", "GRU"),
)
Rows = dict[str, dict[str, Any]]


def report(workdir: Path, repeats: Rows) -> tuple[str, dict[str, Any]]:
    """Draws architectures.png; returns the text, and what was found as JSON values."""
    tests = test_scores(repeats)
    found: dict[str, Any] = {"accuracies": {}, "claims": {}}
    texts = []
    for task, cells in tests.items():
        intervals = {name: interval(values) for name, values in cells.items()}
        claims = {
            f"{a} less {b}": claim(task, cells, a, b) for a, b in CLAIMS if {a, b} <= {*cells}
        }
        found["accuracies"][task] = intervals
        found["claims"][task] = claims
        texts.append(accuracy_table(task, repeats, intervals))
        if claims:
            texts.append(claims_table(task, claims))
    draw(workdir / "architectures.png", found["accuracies"])
    return "\n\n".join(texts), found


def test_scores(repeats: Rows) -> dict[str, dict[str, np.ndarray]]:
    """Task -> cell -> test accuracies `[seeds]`."""
    tests: dict[str, dict[str, np.ndarray]] = {}
    for row in repeats.values():
        scores = np.array([setting["test"] for setting in row["settings"]])
        tests.setdefault(row["task"], {})[row["network"]] = scores
    return tests


def interval(values: np.ndarray) -> dict[str, float]:
    """The mean, and half the width of its interval by Student's t."""
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values)
    return {"mean": float(values.mean()), "half_width": float(half)}


def claim(task: str, cells: dict[str, np.ndarray], a: str, b: str) -> dict[str, float]:
    """The difference, its interval and p by Welch's t, and what was published."""
    difference = float(cells[a].mean() - cells[b].mean())
    place = TABLE_1_TASKS.index(task)
    found = {"difference": difference, "published": TABLE_1[a][place] - TABLE_1[b][place]}
    if cells[a].var() + cells[b].var() == 0:  # as of networks that have all learnt nothing
        return found | {"low": difference, "high": difference, "p": float(difference == 0)}
    welch = stats.ttest_ind(cells[a], cells[b], equal_var=False)
    low, high = welch.confidence_interval(CONFIDENCE)
    return found | {"low": float(low), "high": float(high), "p": float(welch.pvalue)}


def accuracy_table(task: str, repeats: Rows, intervals: dict[str, dict[str, float]]) -> str:
    head = [task, "accuracy, 95% interval", "published", "layers", "units", "rate"]
    body = []
    for name, found in intervals.items():
        row = next(r for r in repeats.values() if (r["task"], r["network"]) == (task, name))
        body.append(
            [
                name,
                f"{found['mean']:.3f} ± {found['half_width']:.3f}",
                f"{TABLE_1[name][TABLE_1_TASKS.index(task)]:.3g}",
                str(row["layers"]),
                str(row["units"]),
                f"{row['settings'][0]['rate']:g}",
            ]
        )
    return table(head, body)


def claims_table(task: str, claims: dict[str, dict[str, float]]) -> str:
    head = [f"{task}: differences", "ours", "95% interval", "p", "published"]
    body = [
        [
            name,
            f"{found['difference']:+.3f}",
            f"{found['low']:+.3f} to {found['high']:+.3f}",
            f"{found['p']:.3f}" if found["p"] >= 0.0005 else "<0.001",
            f"{found['published']:+.3f}",
        ]
        for name, found in claims.items()
    ]
    return table(head, body)


def draw(path: Path, accuracies: dict[str, dict[str, dict[str, float]]]) -> None:
    """Ours with its interval and the published value of each cell, one panel a task."""
    with panels(path, len(accuracies)) as all_axes:
        for axes, (task, cells) in zip(all_axes, accuracies.items(), strict=True):
            y = np.arange(len(cells))[::-1]
            means = np.array([found["mean"] for found in cells.values()])
            halves = np.array([found["half_width"] for found in cells.values()])
            published = [TABLE_1[name][TABLE_1_TASKS.index(task)] for name in cells]
            axes.errorbar(
                means,
                y,
                xerr=[np.minimum(halves, means), halves],
                fmt="o",
                color=COLOURS[0],
                capsize=3,
                ms=5,
                label="ours, 95% interval",
            )
            axes.plot(published, y, "kx", ms=7, label="published")
            axes.set_yticks(y, list(cells))
            axes.set_xlim(left=0)
            label(axes, xlabel="next-step accuracy", ylabel="", title=task)
        all_axes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
