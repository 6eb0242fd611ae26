"""The table, the figure and the examples of a run."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.caption.images import Images
from experiments.common import plots, tables
from experiments.common.intervals import half_width, interval

# BLEU-4 on Flickr8k's test images.
PUBLISHED = {
    (6000, 1000, 1000): {
        "LSTM, first input, VGG, greedy (neon model zoo, 2016)": 12.3,
        "tanh RNN, VGG, beam of 7 (Karpathy and Fei-Fei, 2015, from memory)": 16.0,
    }
}

ByWay = dict[str, list[dict[str, Any]]]


def published_for(images: Images) -> dict[str, float]:
    """Published BLEU-4 on the same numbers of images; none for others."""
    if images.test.scenes:
        return {}
    train, validation, test = (len(split.images) for split in images[2:])
    return PUBLISHED.get((train, validation, test), {})


def table(by_way: ByWay, results: dict[str, Any], images: Images) -> str:
    """One line for each way, each floor, and each published number."""
    if images.test.scenes:
        levels = results["floors"]
        head = ["how the image enters", "nats a caption", "true: sampled", "greedy", "beam"]
        lines = [
            [
                way,
                interval(np.array([row["nats"] for row in rows])),
                *(
                    interval(np.array([row[name]["true"] for row in rows]))
                    for name in ("sampled", "greedy", "beam")
                ),
            ]
            for way, rows in by_way.items()
        ]
        lines.append(["perfect", f"{levels['perfect_nats']:.3f}", "1.000", "", ""])
        blind = [f"{levels[name]:.3f}" for name in ("blind_entropy", "blind_true")]
        lines.append(["sees nothing, knows the grammar", *blind, "", ""])
        return tables.table(head, lines)
    head = ["test BLEU", "nats a caption", "greedy, 4", "beam, 1", "2", "3", "4"]
    names = [f"bleu{order}" for order in range(1, 5)]
    lines = []
    for way, rows in by_way.items():
        values = [np.array([row["nats"] for row in rows])]
        values += [np.array([row["greedy"]["bleu4"] for row in rows])]
        values += [np.array([row["beam"][name] for row in rows]) for name in names]
        lines.append([way, *map(interval, values)])
    for name, scores in results["floors"].items():
        lines.append([f"floor: {name}", "", "", *(f"{scores[n]:.1f}" for n in names)])
    for name, value in results["published"].items():
        lines.append([f"published: {name}", "", "", "", "", "", f"{value:.1f}"])
    return tables.table(head, lines)


def figure(path: Path, by_way: ByWay, results: dict[str, Any], images: Images) -> None:
    """The loss or BLEU-4 of each way between its levels; and of scenes some pictures with captions."""
    scenes = bool(images.test.scenes)
    with plots.panels(path, 2 if scenes else 1) as axes:
        for place, rows in enumerate(by_way.values()):
            values = np.array([row["nats"] if scenes else row["beam"]["bleu4"] for row in rows])
            half = half_width(values)
            error = None if np.isnan(half) else [[half], [half]]
            colour = plots.COLOURS[place % len(plots.COLOURS)]
            axes[0].errorbar(values.mean(), -place, xerr=error, fmt="o", color=colour, capsize=3)
        levels = results["floors"]
        marks = (
            {"perfect": levels["perfect_nats"], "sees nothing": levels["blind_entropy"]}
            if scenes
            else {n: s["bleu4"] for n, s in levels.items()} | results["published"]
        )
        names = [*by_way, *marks]
        for place, value in enumerate(marks.values(), len(by_way)):
            axes[0].plot(value, -place, "s", color="0.45", ms=4, mfc="none")
            axes[0].axvline(value, color="0.85", linewidth=0.8, zorder=0)
        axes[0].set_yticks([-i for i in range(len(names))], names, fontsize=7)
        xlabel = "nats a caption" if scenes else "BLEU-4"
        plots.label(axes[0], xlabel=xlabel, ylabel="", title="test")
        if scenes:
            _pictures(axes[1], by_way, images)


def _pictures(axes: Any, by_way: ByWay, images: Images) -> None:
    """Six test scenes, and what the first network says of each."""
    said = next(iter(by_way.values()))[0]["examples"]
    axes.set_axis_off()
    for number in range(6):
        inset = axes.inset_axes([(number % 3) / 3 + 0.02, 0.55 - number // 3 * 0.5, 0.29, 0.36])
        inset.imshow(images.test.images[number])
        words = said[number][0].split()
        lines = [" ".join(words[i : i + 4]) for i in range(0, len(words), 4)]
        inset.set_title("\n".join(lines), fontsize=6)
        inset.set_xticks([])
        inset.set_yticks([])


def examples(rows: dict[str, dict[str, Any]]) -> str:
    """What each network says of some test images, and what a person said."""
    lines = []
    for name, row in rows.items():
        lines.append(f"{name}:")
        lines += [f"  {given}   (one said: {said})" for given, said in row["examples"]]
    return "\n".join(lines)
