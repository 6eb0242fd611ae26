"""Tables and figures of the sweep, with the published values beside ours."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.intervals import half_width, interval
from experiments.common.plots import COLOURS, LINES, label, label_ends, level, panels, pyplot
from experiments.common.tables import table
from experiments.forget_bias.tasks import CHRONO, PUBLISHED

MARKERS = "os^Dv<>Phx*dp"
LEVELS = {
    "temporal order": ("guessing", 0.25),
    "copying": ("guessing", 0.25),
    "xml": ("best possible", 0.65),
}
Rows = dict[str, dict[str, Any]]


class Result(NamedTuple):
    score: np.ndarray  # [seeds], at the end
    curve: np.ndarray  # [checks, seeds]
    check_every: int


Scores = dict[str, dict[float, Result]]  # label -> rate -> result


def scores(rows: Rows) -> dict[str, Scores]:
    """Task -> label -> rate -> result; the labels of an LSTM are its biases."""
    by_task: dict[str, Scores] = {}
    for row in rows.values():
        for i, name in enumerate(row["labels"]):
            key = name if row["network"] == "LSTM" else row["network"]
            curve = np.array([check[i] for check in row["curve"]])
            result = Result(np.array(row["score"][i]), curve, row["check_every"])
            by_task.setdefault(row["task"], {}).setdefault(key, {})[row["rate"]] = result
    return by_task


def bars(scores: list[np.ndarray]) -> np.ndarray:
    """Intervals below and above the means, `[2, N]`, cut off at 0 and 1, between which scores lie."""
    mean, half = np.mean(scores, axis=1), np.nan_to_num([*map(half_width, scores)])
    return np.array([np.minimum(half, mean), np.minimum(half, 1 - mean)])


def best_rate(of_rates: dict[float, Result]) -> float:
    """The rate with the highest mean at the end."""
    return max(of_rates, key=lambda rate: float(np.mean(of_rates[rate].score)))


def is_bias(name: str) -> bool:
    return name == CHRONO or name.startswith("b = ")


def report(workdir: Path, rows: Rows, memory: dict[str, Any], title: str) -> str:
    """Draws bias.png, networks.png, memory.png and a curves_TASK.png per task; returns the table."""
    by_task = scores(rows)
    draw_memory(workdir / "memory.png", memory)
    if any(is_bias(name) for labels in by_task.values() for name in labels):
        draw_biases(workdir / "bias.png", by_task, title)
    draw_networks(workdir / "networks.png", by_task, title)
    texts = []
    for task, labels in by_task.items():
        draw_curves(workdir / f"curves_{task.replace(' ', '_')}.png", task, labels)
        texts.append(text_of(task, labels))
    return "\n\n".join(texts)


def text_of(task: str, labels: Scores) -> str:
    rates = list(next(iter(labels.values())))
    published = PUBLISHED.get(task, {})
    body = [
        [
            full(name),
            *(interval(of_rates[rate].score) for rate in rates),
            *(
                [f"{published[full(name)]:.3f}" if full(name) in published else "-"]
                * bool(published)
            ),
        ]
        for name, of_rates in labels.items()
    ]
    head = [task, *(f"rate {rate:g}" for rate in rates), *(["published"] * bool(published))]
    text = (
        measure(task) + ", mean over seeds with its 95% confidence interval\n" + table(head, body)
    )
    return text + "".join(f"\n{line}" for line in effects(labels, rates))


def full(name: str) -> str:
    """The name in PUBLISHED: a bias belongs to an LSTM."""
    return f"LSTM, {name}" if is_bias(name) else name


def measure(task: str) -> str:
    return "share of the variance explained" if task == "adding" else "accuracy"


def effects(labels: Scores, rates: list[float]) -> list[str]:
    """The gain over forget bias 0 of some other biases, paired by seed: a line each."""
    if "b = 0" not in labels:
        return []
    return [
        f"{name} less b = 0:  "
        + ";  ".join(
            f"{interval(labels[name][rate].score - labels['b = 0'][rate].score)} at rate {rate:g}"
            for rate in rates
        )
        for name in ("b = 1", "b = 3", CHRONO)
        if name in labels
    ]


def draw_biases(path: Path, by_task: dict[str, Scores], title: str) -> None:
    """The score against the forget bias: a line for each rate, a dot for each seed."""
    with panels(path, len(by_task)) as all_axes:
        for axes, (task, labels) in zip(all_axes, by_task.items(), strict=True):
            names = [name for name in labels if is_bias(name) and name != CHRONO]
            places = {name: float(name.removeprefix("b = ")) for name in names}
            if CHRONO in labels:  # beside the largest bias, and tied to it by no line
                places[CHRONO] = max(places.values(), default=0.0) + 1.5
            rates = list(labels[next(iter(places))])
            for i, rate in enumerate(rates):
                nudge = 0.14 * (i - (len(rates) - 1) / 2)
                draw_rate(axes, i, rate, labels, places, nudge)
            draw_published(axes, task, places)
            if task in LEVELS:
                level(axes, *LEVELS[task], line=":")
            axes.set_xticks([*places.values()], [n.removeprefix("b = ") for n in places])
            axes.set_ylim(-0.05, 1.08)
            label(
                axes,
                xlabel="forget bias at the start",
                ylabel=f"{measure(task)}, 95% interval",
                title=f"{task}{title}",
            )
        all_axes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_rate(
    axes: Any, i: int, rate: float, labels: Scores, places: dict[str, float], nudge: float
) -> None:
    """The means and intervals of the i-th rate as a line, and its seeds as dots."""
    scores = [labels[name][rate].score for name in places]
    x, mean, half = np.array([*places.values()]) + nudge, np.mean(scores, axis=1), bars(scores)
    style = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 5, "capsize": 3}
    end = len(places) - (CHRONO in places)
    numbers, chrono = slice(None, end), slice(end, None)
    axes.errorbar(
        x[numbers],
        mean[numbers],
        half[:, numbers],
        linestyle=LINES[i],
        label=f"rate {rate:g}",
        **style,
    )
    axes.errorbar(x[chrono], mean[chrono], half[:, chrono], linestyle="", **style)
    seeds = np.repeat(x, [len(s) for s in scores])
    axes.plot(seeds, np.concatenate(scores), ".", color=COLOURS[i], ms=5, alpha=0.5)


def draw_published(axes: Any, task: str, places: dict[str, float]) -> None:
    """The published scores of the paper's LSTM and LSTM-b, as crosses at their biases."""
    published = {n.removeprefix("LSTM, "): v for n, v in PUBLISHED.get(task, {}).items()}
    points = {places[name]: value for name, value in published.items() if name in places}
    if points:
        axes.plot([*points], [*points.values()], "kx", ms=8, label="published")


def draw_networks(path: Path, by_task: dict[str, Scores], title: str) -> None:
    """The other networks beside the LSTM from a few biases: a point with its interval for each rate."""
    with panels(path, len(by_task)) as all_axes:
        for axes, (task, labels) in zip(all_axes, by_task.items(), strict=True):
            names = [
                n for n in labels if not is_bias(n) or n in ("b = 0", "b = 1", "b = 3", CHRONO)
            ]
            y = np.arange(len(names))[::-1]
            rates = list(labels[names[0]])
            for i, rate in enumerate(rates):
                of_rate = [labels[name][rate].score for name in names]
                axes.errorbar(
                    np.mean(of_rate, axis=1),
                    y - 0.18 * (i - (len(rates) - 1) / 2),
                    xerr=bars(of_rate),
                    color=COLOURS[i],
                    marker=MARKERS[i],
                    linestyle="",
                    ms=5,
                    capsize=2,
                    label=f"rate {rate:g}",
                )
            published = PUBLISHED.get(task, {})
            known = [
                (published[full(n)], at)
                for n, at in zip(names, y, strict=True)
                if full(n) in published
            ]
            if known:
                axes.plot(*zip(*known, strict=True), "kx", ms=7, label="published")
            axes.set_yticks(y, [full(name) for name in names])
            axes.set_xlim(-0.04, 1.08)
            label(axes, xlabel=f"{measure(task)}, 95% interval", ylabel="", title=f"{task}{title}")
        all_axes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_curves(path: Path, task: str, labels: Scores) -> None:
    """Learning curves, the mean over seeds at the best rate: biases left, other networks right.

    What is published stands at the right edge, in the colour of its network.
    """
    groups = {
        "LSTM, by forget bias": [n for n in labels if is_bias(n)],
        "other networks": [n for n in labels if not is_bias(n)],
    }
    groups = {title: names for title, names in groups.items() if names}
    published = PUBLISHED.get(task, {})
    with panels(path, len(groups)) as all_axes:
        for axes, (title, names) in zip(all_axes, groups.items(), strict=True):
            axes.set_ylim(-0.04, 1.04)
            label(axes, xlabel="updates", ylabel=f"test {measure(task)}", title=f"{task}: {title}")
            ends = {}
            for i, name in enumerate(names):
                result = labels[name][best_rate(labels[name])]
                curve = result.curve.mean(axis=1)
                colour = colour_of(name, i, len(names))
                xs = result.check_every * np.arange(1, len(curve) + 1)
                style = "--" if name == CHRONO else LINES[i // len(COLOURS) % len(LINES)]
                axes.plot(xs, curve, color=colour, linestyle=style, linewidth=1.6)
                ends[name] = float(curve[-1]), colour
                if full(name) in published:
                    axes.plot(
                        1,
                        published[full(name)],
                        "<",
                        color=colour,
                        ms=6,
                        clip_on=False,
                        transform=axes.get_yaxis_transform(),
                    )
            label_ends(axes, ends)
            if any(full(name) in published for name in names):
                axes.plot(
                    [], [], "<", color="0.35", ms=6, label="published, in its network's colour"
                )
                axes.legend(frameon=False, fontsize=8, loc="upper left")


def colour_of(name: str, number: int, count: int) -> Any:
    """Of a curve: biases from dark to light, other networks by their number."""
    if name == CHRONO:
        return "k"
    if is_bias(name):
        return pyplot().get_cmap("viridis")(0.85 * number / max(1, count - 1))
    return COLOURS[number % len(COLOURS)]


def draw_memory(path: Path, memory: dict[str, Any]) -> None:
    """∏ f against the lag, measured and by σ(b)ᵗ."""
    of_task = f" ({memory['task']})" if "task" in memory else ""
    with panels(path) as (axes,):
        labels = memory["labels"]
        for i, name in enumerate(labels):
            chrono = name == CHRONO
            shade = (
                "k" if chrono else pyplot().get_cmap("cividis")(0.9 * i / max(1, len(labels) - 1))
            )
            x = 1 + np.arange(len(memory["measured"][i]))
            axes.plot(
                x,
                memory["measured"][i],
                color=shade,
                linestyle="--" if chrono else "-",
                marker=MARKERS[i % len(MARKERS)],
                markevery=max(1, len(x) // 10),
                ms=4,
                label=name,
            )
            axes.plot(x, memory["expected"][i], ":", color="0.35", linewidth=1)
        axes.plot([], [], ":", color="0.35", label="σ(b)ᵗ")
        axes.set_yscale("log")
        axes.set_ylim(1e-12, 2)
        label(
            axes,
            xlabel="lag, steps",
            ylabel="share of the cell that is left, ∏ f",
            title=f"What an untrained LSTM keeps, by forget bias{of_task}",
        )
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
