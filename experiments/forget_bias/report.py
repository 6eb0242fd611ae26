"""Tables and figures of the sweep: what was found beside what was published."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from experiments.common.plots import COLOURS, LINES, label, level, panels
from experiments.common.tables import table
from experiments.forget_bias.tasks import CHRONO, PUBLISHED

MARKERS = "os^Dv<>Phx*dp"
LEVELS = {
    "temporal order": ("guessing", 0.25),
    "copying": ("guessing", 0.25),
    "xml": ("best possible", 0.65),
}
Rows = dict[str, dict[str, Any]]


class Found(NamedTuple):
    score: np.ndarray  # [seeds], at the end
    curve: np.ndarray  # [checks, seeds]
    check_every: int


Scores = dict[str, dict[float, Found]]  # label -> rate


def scores(rows: Rows) -> dict[str, Scores]:
    """Task -> label -> rate -> what was found; the labels of an LSTM are its biases."""
    found: dict[str, Scores] = {}
    for row in rows.values():
        for i, name in enumerate(row["labels"]):
            key = name if row["network"] == "LSTM" else row["network"]
            curve = np.array([check[i] for check in row["curve"]])
            one = Found(np.array(row["score"][i]), curve, row["check_every"])
            found.setdefault(row["task"], {}).setdefault(key, {})[row["rate"]] = one
    return found


def half_width(values: np.ndarray) -> float:
    """Of the 95% interval of the mean by Student's t; NaN of a single value."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def bars(here: list[np.ndarray]) -> np.ndarray:
    """Intervals as far as they lie within [0, 1], where every score does: below and above means."""
    mean, half = np.mean(here, axis=1), np.nan_to_num([*map(half_width, here)])
    return np.array([np.minimum(half, mean), np.minimum(half, 1 - mean)])


def interval(values: np.ndarray) -> str:
    """ "0.912 ± 0.034"."""
    half = half_width(values)
    return f"{np.mean(values):.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")


def best_rate(of_rates: dict[float, Found]) -> float:
    """The rate with the highest mean at the end."""
    return max(of_rates, key=lambda rate: float(np.mean(of_rates[rate].score)))


def is_bias(name: str) -> bool:
    return name == CHRONO or name.startswith("b = ")


def report(workdir: Path, rows: Rows, memory: dict[str, Any], title: str) -> str:
    """Draws bias.png, networks.png, memory.png and a curves_TASK.png each; returns the table."""
    found = scores(rows)
    draw_memory(workdir / "memory.png", memory)
    if any(is_bias(name) for labels in found.values() for name in labels):
        draw_biases(workdir / "bias.png", found, title)
    draw_networks(workdir / "networks.png", found, title)
    texts = []
    for task, labels in found.items():
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
    text = measure(task) + ", mean over seeds and its 95% interval\n" + table(head, body)
    return text + "".join(f"\n{line}" for line in effects(labels, rates))


def full(name: str) -> str:
    """As in PUBLISHED: a bias is an LSTM's."""
    return f"LSTM, {name}" if is_bias(name) else name


def measure(task: str) -> str:
    return "share of the variance explained" if task == "adding" else "accuracy"


def effects(labels: Scores, rates: list[float]) -> list[str]:
    """Differences from forget bias 0, paired by seed."""
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


def draw_biases(path: Path, found: dict[str, Scores], title: str) -> None:
    """The score against the forget bias, one line for each rate, each seed a dot."""
    with panels(path, len(found)) as all_axes:
        for axes, (task, labels) in zip(all_axes, found.items(), strict=True):
            names = [name for name in labels if is_bias(name)]
            numbers = [float(n.removeprefix("b = ")) for n in names if n != CHRONO]
            right = max(numbers, default=0.0) + 1.5  # where chrono stands
            x = np.array([*numbers, *[right] * (CHRONO in names)])
            names = [n for n in names if n != CHRONO] + [CHRONO] * (CHRONO in names)
            rates = list(labels[names[0]])
            for i, rate in enumerate(rates):
                here = [labels[name][rate].score for name in names]
                nudged = x + 0.14 * (i - (len(rates) - 1) / 2)
                style = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 5, "capsize": 3}
                mean, half = np.mean(here, axis=1), bars(here)
                ends = len(numbers)
                axes.errorbar(
                    nudged[:ends],
                    mean[:ends],
                    half[:, :ends],
                    linestyle=LINES[i],
                    label=f"rate {rate:g}",
                    **style,
                )
                axes.errorbar(nudged[ends:], mean[ends:], half[:, ends:], linestyle="", **style)
                dots = np.concatenate(here)
                places = np.repeat(nudged, [len(h) for h in here])
                axes.plot(places, dots, ".", color=COLOURS[i], ms=5, alpha=0.5)
            published = {n: v for n, v in PUBLISHED.get(task, {}).items() if n.startswith("LSTM, ")}
            for k, (name, value) in enumerate(published.items()):
                key = name.removeprefix("LSTM, ")
                if key in names:
                    axes.plot(
                        x[names.index(key)], value, "kx", ms=8, label="published" if not k else ""
                    )
            if task in LEVELS:
                level(axes, *LEVELS[task], line=":")
            axes.set_xticks(x, [n.removeprefix("b = ") for n in names])
            axes.set_ylim(-0.05, 1.08)
            label(
                axes,
                xlabel="forget bias at the start",
                ylabel=f"{measure(task)}, 95% interval",
                title=f"{task}{title}",
            )
        all_axes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_networks(path: Path, found: dict[str, Scores], title: str) -> None:
    """The networks beside the LSTM from biases 0 and 1, every rate a point with its interval."""
    with panels(path, len(found)) as all_axes:
        for axes, (task, labels) in zip(all_axes, found.items(), strict=True):
            names = [
                n for n in labels if not is_bias(n) or n in ("b = 0", "b = 1", "b = 3", CHRONO)
            ]
            y = np.arange(len(names))[::-1]
            rates = list(labels[names[0]])
            for i, rate in enumerate(rates):
                here = [labels[name][rate].score for name in names]
                axes.errorbar(
                    np.mean(here, axis=1),
                    y - 0.18 * (i - (len(rates) - 1) / 2),
                    xerr=bars(here),
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
    """Learning curves at each one's best rate, the mean over seeds: biases, and networks."""
    groups = {
        "LSTM, by forget bias": [n for n in labels if is_bias(n)],
        "other networks": [n for n in labels if not is_bias(n)],
    }
    groups = {name: some for name, some in groups.items() if some}
    published = PUBLISHED.get(task, {})
    with panels(path, len(groups)) as all_axes:
        for axes, (title, names) in zip(all_axes, groups.items(), strict=True):
            for i, name in enumerate(names):
                rate = best_rate(labels[name])
                one = labels[name][rate]
                shade = plt.get_cmap("cividis")(0.9 * i / max(1, len(names) - 1))
                by_bias = is_bias(name) and name != CHRONO
                colour = shade if by_bias else "k" if name == CHRONO else COLOURS[i % len(COLOURS)]
                if full(name) in published:
                    axes.axhline(published[full(name)], color=colour, linestyle=":", linewidth=1)
                axes.plot(
                    one.check_every * np.arange(1, len(one.curve) + 1),
                    one.curve.mean(axis=1),
                    color=colour,
                    linestyle="--" if name == CHRONO else LINES[i % len(LINES)],
                    marker=MARKERS[i % len(MARKERS)],
                    ms=4,
                    label=f"{name.removeprefix('b = ')} (rate {rate:g})",
                )
            if any(full(name) in published for name in names):
                axes.plot([], [], ":", color="0.35", linewidth=1, label="published, by colour")
            axes.set_ylim(-0.04, 1.04)
            label(axes, xlabel="updates", ylabel=f"test {measure(task)}", title=f"{task}: {title}")
            axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_memory(path: Path, memory: dict[str, Any]) -> None:
    """∏ f against the lag, measured and by σ(b)ᵗ."""
    with panels(path) as (axes,):
        labels = memory["labels"]
        for i, name in enumerate(labels):
            chrono = name == CHRONO
            shade = "k" if chrono else plt.get_cmap("cividis")(0.9 * i / max(1, len(labels) - 1))
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
            title="What an untrained LSTM keeps, by forget bias",
        )
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
