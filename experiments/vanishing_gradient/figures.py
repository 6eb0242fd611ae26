"""The figures of `experiments.vanishing_gradient`, one to a slide."""

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.plots import COLOURS, LINES, pyplot, save

FLOOR = 1e-12  # lower end of the gradient axis
LECTURES = {"RNN: about 7": 7, "about 20": 20, "LSTM: about 100": 100}


def draw(workdir: Path, results: dict[str, Any]) -> None:
    """Writes five PNG files, each named after the function that draws it."""
    linear_theory(workdir / "linear_theory.png", results["linear"])
    scalar_decay(workdir / "scalar_decay.png", results["scalar"])
    gradient_by_lag(workdir / "gradient_by_lag.png", results["networks"])
    memory_horizon(workdir / "memory_horizon.png", results["networks"])
    accuracy_by_lag(workdir / "accuracy_by_lag.png", results["networks"])


def linear_theory(path: Path, linear: dict[str, Any]) -> None:
    """The measured gains as lines, s^lag as crosses."""
    figure, axes = _axes()
    lags = np.arange(1, len(linear["log_norms"]["1.0"]) + 1)
    for i, (scale, curve) in enumerate(linear["log_norms"].items()):
        sheared = linear["sheared"]
        label = f"singular values {scale}"
        if scale == "sheared":
            label = f"largest {sheared['largest_singular_value']:.2f}, but eigenvalues 0.9"
        style = {"color": COLOURS[i], "linestyle": LINES[i], "linewidth": 2}
        axes.plot(lags, _linear(curve), label=label, **style)
        if scale != "sheared":
            some = lags[9 :: max(1, len(lags) // 10)]
            axes.plot(some, float(scale) ** some, "x", color="black", ms=6)
    axes.plot([], [], "x", color="black", label="theory")
    axes.set(
        xlabel="lag (steps)",
        ylabel="largest gain of the gradient",
        title="A linear RNN: the gradient is s to the lag for singular values s",
        yscale="log",
    )
    _save(figure, axes, path)


def scalar_decay(path: Path, curves: dict[str, list[float]]) -> None:
    """0.5^t of an RNN beside f^t of an LSTM."""
    figure, axes = _axes()
    labels = {"rnn 0.5": "RNN, factor 0.5"}
    labels |= {k: f"LSTM cell state, f = {k.split()[1]}" for k in curves if k.startswith("lstm")}
    for i, (name, curve) in enumerate(curves.items()):
        lags = np.arange(1, len(curve) + 1)
        axes.plot(lags, _linear(curve), LINES[i], color=COLOURS[i], label=labels[name], linewidth=2)
        axes.annotate(
            f"{math.exp(curve[-1]):.1e}",
            (lags[-1], math.exp(curve[-1])),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=COLOURS[i],
        )
    axes.axhline(2**-24, color="0.45", linewidth=1, linestyle=":")
    axes.annotate("lost beside 1 in float32", (50, 2**-24), (0, -14), textcoords="offset points")
    axes.set(
        xlim=(0, 1.15 * len(curves["rnn 0.5"])),
        xlabel="steps",
        ylabel="gradient",
        title="One hundred steps: 0.5 per step against a forget gate",
        yscale="log",
    )
    _save(figure, axes, path)


def gradient_by_lag(path: Path, networks: dict[str, Any]) -> None:
    """The gradient of nine networks: a panel before training and one after."""
    figure, panels = pyplot().subplots(
        1, 2, figsize=(11, 4.8), layout="constrained", sharey=True, sharex=True
    )
    for axes, when in zip(panels, ("initial", "trained"), strict=True):
        for name, network in networks.items():
            curve = _linear(network[when]["log_norm"])
            curve = np.where(curve < FLOOR, np.nan, curve)
            axes.plot(np.arange(1, len(curve) + 1), curve, label=name, **_style(name))
        axes.axhline(0.01, color="0.45", linewidth=1)
        axes.set(xlabel="lag (steps)", yscale="log", ylim=(FLOOR, 1e2))
        axes.set_title({"initial": "at initialisation", "trained": "trained to recall"}[when])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("‖∂L/∂s‖ relative to lag 1")
    panels[0].annotate(
        "1/100", (1, 0.01), (-2, 3), ("axes fraction", "data"), "offset points", ha="right"
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    save(figure, path)
    pyplot().close(figure)


def memory_horizon(path: Path, networks: dict[str, Any]) -> None:
    """Each network's horizon before and after training, and the numbers of lectures as lines."""
    figure, axes = pyplot().subplots(figsize=(8, 4.8), layout="constrained")
    places = np.arange(len(networks))[::-1]
    for when, label, marker, shift in (
        ("initial", "at initialisation", "o", 0.12),
        ("trained", "trained to recall", "D", -0.12),
    ):
        colour = COLOURS[0] if when == "initial" else COLOURS[1]
        for place, network in zip(places, networks.values(), strict=True):
            horizon = statistics.median(network[when]["horizon"]["0.01"])
            ended = horizon >= len(network[when]["log_norm"])
            axes.plot(
                max(1, horizon), place + shift, marker, color=colour, label=label, clip_on=False
            )
            if ended:  # the sequence ended before the gradient did
                axes.annotate("≥", (horizon, place + shift), (-14, -4), textcoords="offset points")
            label = ""
    for i, (label, value) in enumerate(LECTURES.items()):
        axes.axvline(value, color="0.4", linestyle=LINES[1 + i], linewidth=1)
        axes.annotate(
            label,
            (value, 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color="0.25",
        )
    axes.set_yticks(places, list(networks))
    axes.set_xscale("log")
    ticks = [5, 10, 20, 50, 100, 200, 300]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("memory horizon: steps back to 1/100 of the nearest gradient")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)
    pyplot().close(figure)


def accuracy_by_lag(path: Path, networks: dict[str, Any]) -> None:
    """The accuracy of the trained networks, averaged over five neighbouring lags."""
    figure, axes = pyplot().subplots(figsize=(8, 4.6), layout="constrained")
    for name, network in networks.items():
        accuracy = np.array(network["trained"]["accuracy"])
        width = min(5, len(accuracy))
        lags = np.arange(len(accuracy) - width + 1) + (width + 1) / 2
        style = _style(name) | {"markevery": (len(lags) // 20, max(1, len(lags) // 5))}
        axes.plot(
            lags, np.convolve(accuracy, np.full(width, 1 / width), "valid"), label=name, **style
        )
    axes.axhline(0.25, color="0.45", linewidth=1)
    axes.annotate("chance", (1, 0.25), (0, 3), textcoords="offset points", color="0.25")
    axes.set(xlabel="lag (steps)", ylabel="share of right answers", ylim=(0.2, 1.02))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    save(figure, path)
    pyplot().close(figure)


def _style(name: str) -> dict[str, Any]:
    """The style of a network: colour and marker by its kind of cell, line by its initial values."""
    kinds = ("tanh", "ReLU", "LSTM", "GRU")
    kind = name.split(",")[0]
    variants = ("", "uniform", "orthogonal", "identity", "bias 0", "bias 1", "bias 3", "chrono")
    line = variants.index(name.partition(", ")[2]) % len(LINES)
    k = kinds.index(kind)
    return {
        "color": COLOURS[k],
        "linestyle": LINES[line],
        "linewidth": 1.8,
        "marker": ("o", "s", "", "^")[k],
        "markevery": (10 * k, 40),
        "markersize": 5,
    }


def _linear(log_norm: Any) -> np.ndarray:
    """exp in float64; a null, which is how a ledger writes -inf, becomes 0."""
    values = np.array([-np.inf if v is None else v for v in log_norm])
    return np.exp(values)


def _axes() -> tuple[Any, Any]:
    return pyplot().subplots(figsize=(7, 4.2), layout="constrained")


def _save(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save(figure, path)
    pyplot().close(figure)
