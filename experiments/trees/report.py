"""The tables and figures of the tree program."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import cli, plots, tables
from experiments.common.intervals import interval
from experiments.common.pictures import confusion_matrix
from experiments.trees.config import Config
from experiments.trees.formulas import NETWORKS
from experiments.trees.sentiment import CLASSES
from seqjax.tasks.formulas import LANGUAGES

# Test accuracies at the root, five classes and two, and at all nodes, of five classes.
PUBLISHED = {
    "Socher et al. (2013), RNN": (0.432, 0.824, 0.790),
    "Socher et al. (2013), RNTN": (0.457, 0.854, 0.807),
    "Socher et al. (2013), naive Bayes with pairs": (0.419, 0.831, None),
    "Tai et al. (2015), binary Tree-LSTM, random vectors": (0.439, 0.820, None),
    "Tai et al. (2015), ... GloVe 300-d, fixed": (0.497, 0.875, None),
    "Tai et al. (2015), ... GloVe 300-d, tuned": (0.510, 0.880, None),
}

Rows = Mapping[str, dict[str, Any]]


def by_task(config: Config, rows: Rows) -> dict[str, dict[str, np.ndarray]]:
    """Accuracies `[seeds, depths]` of each task and network."""
    tasks = cli.chosen("--tasks", config.tasks, LANGUAGES)
    return {
        task: {
            name: np.array(
                [
                    row["accuracies"]
                    for key, row in rows.items()
                    if key.startswith(f"{task}, {name}")
                ]
            )
            for name in NETWORKS
        }
        for task in tasks
    }


def formulas_table(config: Config, rows: Rows) -> str:
    """Accuracy at some depths."""
    depths = sorted({1, config.depth, 2 * config.depth, config.test_depth})
    lines = [
        [task, name, *(interval(values[:, d - 1]) for d in depths)]
        for task, networks in by_task(config, rows).items()
        for name, values in networks.items()
    ]
    head = ["formulas", "network", *(f"depth {d}" for d in depths)]
    return (
        f"{tables.table(head, lines, flush_left=2)}\n"
        f"Share of formulas whose value is right; training has depths 1 to {config.depth}."
    )


def formulas_figure(path: Path, config: Config, rows: Rows) -> None:
    """Accuracy against depth, the depths of training shaded."""
    results = by_task(config, rows)
    with plots.panels(path, len(results)) as panels:
        for axes, (task, networks) in zip(panels, results.items(), strict=True):
            axes.axvspan(0.5, config.depth + 0.5, color="0.92", label="depths in training")
            axes.axvline(2 * config.depth, color="0.6", linestyle=":", linewidth=1)
            for i, (name, values) in enumerate(networks.items()):
                depths = np.arange(1, values.shape[1] + 1)
                style = {"color": plots.COLOURS[i], "marker": "os"[i], "ms": 4}
                axes.plot(depths, values.mean(0), plots.LINES[i], label=name, **style)
                if len(values) > 1:
                    axes.fill_between(
                        depths, values.min(0), values.max(0), color=plots.COLOURS[i], alpha=0.15
                    )
            axes.set_ylim(0, 1.02)
            plots.label(
                axes,
                xlabel="depth of the formula",
                ylabel="share of values that are right",
                title=f"{task} formulas",
            )
            axes.legend(frameon=False, fontsize=8.5, loc="lower left")


def treebank_table(config: Config, rows: Rows, floors: Mapping[str, float]) -> str:
    """Published accuracies beside ours and the baselines'."""

    def ours(name: str) -> str:
        values = [row["test"][name] for row in rows.values() if name in row["test"]]
        return interval(np.array(values)) if values else "-"

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    five = config.classes == 5
    lines = [[name, *map(shown, values)] for name, values in PUBLISHED.items()]
    roots = [ours("root"), ours("root_sign")] if five else ["-", ours("root")]
    lines.append(
        [
            f"{config.cell}, {len(rows)} seed{'s' if len(rows) > 1 else ''}",
            *roots,
            ours("all_nodes"),
        ]
    )
    lines += [
        [f"{name}, ours", *((shown(v), "-") if five else ("-", shown(v))), "-"]
        for name, v in floors.items()
    ]
    head = ["test accuracy", "root, 5 classes", "root, 2 classes", "all nodes"]
    note = (
        "Two classes of a network of five: the probabilities of each sign added up, neutral roots left out."
        if five
        else "All nodes: those that are not neutral."
    )
    return f"{tables.table(head, lines)}\n{note}"


def examples_text(config: Config, rows: Rows) -> str:
    """Sentences that the first network is surest of: right ones and wrong ones."""
    first, names = next(iter(rows.values())), CLASSES[config.classes]
    lines = []
    for title, key in (("right", "right"), ("wrong", "wrong")):
        lines.append(f"{title}, of those that the first network is surest of:")
        lines += [
            f"  {e['probability']:.2f} {names[e['given']]} (label: {names[e['label']]}): {e['text']}"
            for e in first[key]
        ]
    return "\n".join(lines)


def treebank_figure(path: Path, config: Config, rows: Rows) -> None:
    """The confusion matrix of all networks."""
    counts = np.sum([row["confusion"] for row in rows.values()], axis=0)
    with plots.panels(path) as (axes,):
        title = f"{config.cell}, roots of the test trees, {len(rows)} networks"
        confusion_matrix(axes, counts, CLASSES[config.classes], title)


def confusion_text(config: Config, rows: Rows) -> str:
    """The confusion matrix as a table: rows are labels, columns what was given."""
    counts = np.sum([row["confusion"] for row in rows.values()], axis=0)
    names: Sequence[str] = CLASSES[config.classes]
    lines = [[name, *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
    return tables.table(["label, and what was given", *names], lines)
