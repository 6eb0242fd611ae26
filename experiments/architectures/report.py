"""The table beside the published one, the claims tested, and a figure."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.common.intervals import CONFIDENCE, half_width, interval
from experiments.common.jozefowicz import TABLE_1, TABLE_1_TASKS
from experiments.common.plots import COLOURS, label, panels
from experiments.common.tables import table

# The paper's claims: the first of each pair is better than the second, or no worse.
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
    """Draws architectures.png; returns the tables, and the accuracies and claims as JSON values."""
    accuracies, claims, texts = {}, {}, []
    for task, cells in test_scores(repeats).items():
        accuracies[task] = {
            name: {"mean": float(values.mean()), "half_width": half_width(values)}
            for name, values in cells.items()
        }
        claims[task] = {
            f"{a} less {b}": claim(task, cells, a, b) for a, b in CLAIMS if {a, b} <= {*cells}
        }
        texts.append(accuracy_table(task, repeats, cells))
        if claims[task]:
            texts.append(claims_table(task, claims[task]))
    draw(workdir / "architectures.png", accuracies)
    return "\n\n".join(texts), {"accuracies": accuracies, "claims": claims}


def test_scores(repeats: Rows) -> dict[str, dict[str, np.ndarray]]:
    """Task -> cell -> test accuracies `[seeds]`."""
    tests: dict[str, dict[str, np.ndarray]] = {}
    for row in repeats.values():
        scores = np.array([setting["test"] for setting in row["settings"]])
        tests.setdefault(row["task"], {})[row["network"]] = scores
    return tests


def claim(task: str, cells: dict[str, np.ndarray], a: str, b: str) -> dict[str, float]:
    """The difference of the means, its interval and p by Welch's t-test, and the published one."""
    difference = float(cells[a].mean() - cells[b].mean())
    place = TABLE_1_TASKS.index(task)
    means = {"difference": difference, "published": TABLE_1[a][place] - TABLE_1[b][place]}
    if cells[a].var() + cells[b].var() == 0:  # all have learnt nothing, say: no t-test is defined
        return means | {"low": difference, "high": difference, "p": float(difference == 0)}
    welch = stats.ttest_ind(cells[a], cells[b], equal_var=False)
    low, high = welch.confidence_interval(CONFIDENCE)
    return means | {"low": float(low), "high": float(high), "p": float(welch.pvalue)}


def published_of(task: str, cell: str) -> float:
    """The accuracy in the paper's Table 1; NaN for a cell that is not in it."""
    return TABLE_1[cell][TABLE_1_TASKS.index(task)] if cell in TABLE_1 else math.nan


def accuracy_table(task: str, repeats: Rows, cells: dict[str, np.ndarray]) -> str:
    """Our accuracy of each cell on a task with its interval, the published one, and its setting."""
    head = [task, "accuracy, 95% interval", "published", "layers", "units", "rate"]
    body = []
    for name, scores in cells.items():
        row = next(r for r in repeats.values() if (r["task"], r["network"]) == (task, name))
        body.append(
            [
                name,
                interval(scores),
                f"{published_of(task, name):.3g}" if name in TABLE_1 else "-",
                str(row["layers"]),
                str(row["units"]),
                f"{row['settings'][0]['rate']:g}",
            ]
        )
    return table(head, body)


def claims_table(task: str, claims: dict[str, dict[str, float]]) -> str:
    """The differences of the claims on a task, ours and the published ones."""
    head = [f"{task}: differences", "ours", "95% interval", "p", "published"]
    body = [
        [
            name,
            f"{test['difference']:+.3f}",
            f"{test['low']:+.3f} to {test['high']:+.3f}",
            f"{test['p']:.3f}" if test["p"] >= 0.0005 else "<0.001",
            f"{test['published']:+.3f}",
        ]
        for name, test in claims.items()
    ]
    return table(head, body)


def draw(path: Path, accuracies: dict[str, dict[str, dict[str, float]]]) -> None:
    """The accuracy of each cell with its interval, and the published one: a panel for each task."""
    with panels(path, len(accuracies)) as all_axes:
        for axes, (task, cells) in zip(all_axes, accuracies.items(), strict=True):
            y = np.arange(len(cells))[::-1]
            means = np.array([accuracy["mean"] for accuracy in cells.values()])
            halves = np.array([accuracy["half_width"] for accuracy in cells.values()])
            published = [published_of(task, name) for name in cells]
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
