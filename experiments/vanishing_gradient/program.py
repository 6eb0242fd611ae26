"""How far back a gradient reaches: vanishing and exploding gradients, from theory to trained nets.

Claims, and what is published beside what is measured here:
1. Of a linear recurrence the gradient over t steps is s^t for recurrent singular values s: it vanishes
   below 1 and explodes above (Pascanu, Mikolov and Bengio, 2013, and every course since).
2. A tanh RNN looks back "about 7" or "about 20" steps, an LSTM "about 100": statements of lectures
   without a task. Here: delayed recall of one of four symbols over 1 to 100 steps of distractors.
3. The worked scalar examples: 0.5^100 against an LSTM's f^100; a memory that flips in one step; the
   GRU's two cases.

    python -m experiments.vanishing_gradient

takes about 3 minutes on 2 CPU cores and writes results.json and five figures. The memory horizon is
the largest lag up to which ‖∂L_T/∂s_k‖ stays above 1/100 of its value at lag 1 (s the whole state, h
and c of an LSTM; L the margin of the right symbol's score). Beside it stands what the trained network
does: its share of right answers at short and at long lags. The two need not agree: a network that
has stored a symbol robustly is contractive (Bengio, Simard and Frasconi, 1994), so its gradient
vanishes over the very lags that it bridges.
"""

import dataclasses
import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from experiments.common import cli, tables
from experiments.common.study_run import open_study
from experiments.vanishing_gradient import figures, theory, training
from seqjax.errors import InputError, check_positive, check_rate
from seqjax.types import Array

NAME = "vanishing_gradient"


@dataclasses.dataclass(frozen=True)
class Config:
    hidden_size: int = cli.option(32, "hidden units")
    max_lag: int = cli.option(100, "longest lag of the task, and length of its sequences")
    batch_size: int = cli.option(32, "sequences in an update")
    updates: int = cli.option(1500, "updates of Adam, gradients clipped to norm 1")
    learning_rate: float = cli.option(3e-3, "learning rate of Adam")
    seeds: int = cli.option(3, "networks of each kind, of which medians are shown")
    measured_steps: int = cli.option(300, "length of the sequences on which gradients are measured")
    rows: int = cli.option(32, "sequences on which gradients are measured")
    theory_steps: int = cli.option(200, "length of the linear recurrences")
    seed: int = cli.option(0, "seed of the weights and the data")
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        sizes = "hidden_size max_lag batch_size updates seeds measured_steps rows theory_steps"
        for name in sizes.split():
            check_positive(f"--{name}", getattr(self, name))
        check_rate("--learning_rate", self.learning_rate)
        if self.measured_steps < self.max_lag:
            raise InputError(
                f"--measured_steps must be at least --max_lag, {self.max_lag}, got"
                f" {self.measured_steps}."
            )


def family(config: Config, name: str, key: Array) -> dict[str, Any]:
    """The row of a family. Its keys follow from config.seed alone: families share their seeds."""
    del key
    return training.study(name, config)


def run(config: Config) -> dict[str, Any]:
    """Measures theory and networks; writes results.json, table.txt and five figures."""
    with open_study(NAME, config, expect="takes about 3 minutes on 2 CPU cores") as study:
        results: dict[str, Any] = {
            "linear": theory.linear_theory(config.theory_steps),
            "sufficient": theory.small_singular_values_suffice(),
            "nilpotent": theory.explodes_with_zero_eigenvalues(),
            "scalar": theory.scalar_decays(),
            "lstm_flip": theory.lstm_flip(),
            "gru_cases": theory.gru_cases(),
        }
        units = {name: partial(family, config, name) for name in training.FAMILIES}
        rows = study.rows(units, "families.jsonl")
        results["networks"] = {name: row[name] for row in rows.values() for name in row}
        results["table"] = table(results)
        figures.draw(study.workdir, results)
        study.finish(results, text_of(results["table"], config))
    return results


Line = tuple[str, str, str]  # statement, published value, ours


def table(results: dict[str, Any]) -> list[dict[str, str]]:
    """Statement, published value, ours."""
    lines = [
        *linear_lines(results["linear"], results["sufficient"], results["nilpotent"]),
        *scalar_lines(results["scalar"], results["lstm_flip"], results["gru_cases"]),
        *network_lines(results["networks"]),
    ]
    return [dict(zip(("statement", "published", "ours"), line, strict=True)) for line in lines]


def linear_lines(
    linear: dict[str, Any], sufficient: dict[str, int], nilpotent: dict[str, float]
) -> Iterator[Line]:
    """What singular values and eigenvalues say about the gradient."""
    sheared, steps = linear["sheared"], len(linear["log_norms"]["1.0"])
    draws = sufficient["draws"]
    yield (
        "linear RNN, U = s·Q: gradient over t steps",
        "sᵗ",
        f"sᵗ, s = 0.9, 1, 1.1, t to {steps}: log off by {linear['largest_error_of_log']:.0e}",
    )
    yield (
        "largest singular value < 1: vanishes",
        "always",
        f"tanh, 0.95: {sufficient['above_the_bound']} of {draws} above 0.95ᵗ",
    )
    yield (
        "... sufficient, not necessary",
        "sufficient but not necessary",
        f"tanh, 1.5: {sufficient['vanished_with_large']} of {draws} vanish (t = 100)",
    )
    yield (
        "largest singular value > 1: explodes",
        "explodes (slide)",
        f"not by itself: σ₁ {sheared['largest_singular_value']:.2f}, ρ"
        f" {sheared['spectral_radius']:.2f}: peak {sheared['peak']:.1f} at {sheared['peak_lag']},"
        f" then {sheared['end']:.0e}",
    )
    yield (
        "an eigenvalue above 1 is needed to explode",
        "necessary (as often quoted)",
        f"ReLU breaks it: ρ {nilpotent['spectral_radius']:.0g}, yet"
        f" ×{nilpotent['growth_per_step']:.2f} per step",
    )


def scalar_lines(
    curves: dict[str, list[float]], flip: dict[str, float], gru_cases: list[dict[str, float]]
) -> Iterator[Line]:
    """The worked examples of one unit."""
    ends = {name: np.exp(curve[-1]) for name, curve in curves.items()}
    lost = first_below(curves["rnn 0.5"], 2**-23.5)
    yield (
        "RNN, factor 0.5, 100 steps",
        "below floating-point precision",
        f"{ends['rnn 0.5']:.1e}: lost beside 1 in float32 from {lost} on, no underflow before 127",
    )
    yield (
        "LSTM cell state, 100 steps",
        "survives",
        ", ".join(f"f = {f}: {ends[f'lstm {f}']:.1e}" for f in theory.FORGET),
    )
    yield (
        "LSTM: plural to singular in one step",
        "large + to -, as f small, i large",
        f"f {flip['f']}, i {flip['i']}, g {flip['g']}: c {flip['c']:+.2f} to {flip['new_c']:+.2f}",
    )
    claims = ("close to the old state", "close to the candidate")
    for case, published in zip(gru_cases, claims, strict=True):
        yield (
            f"GRU, keeps {case['kept']} of the old state",
            published,
            f"old {case['h']:+.2f}, candidate {case['candidate']:+.2f}: {case['new_h']:+.2f}",
        )


def network_lines(networks: dict[str, Any]) -> Iterator[Line]:
    """How far back each network looks, before and after training, and what it recalls."""
    lectures = {"tanh": "about 7; about 20", "LSTM": "about 100"}
    for name, network in networks.items():
        before, after = (
            statistics.median(network[when]["horizon"]["0.01"]) for when in ("initial", "trained")
        )
        near, far = (statistics.mean(network["trained"][lags]) for lags in ("near", "far"))
        yield (
            f"{name}: steps back",
            lectures.get(name.split(",")[0], "-"),
            f"gradient {before:.0f} untrained, {after:.0f} trained; right {near:.0%} near,"
            f" {far:.0%} far",
        )


def text_of(rows: list[dict[str, str]], config: Config) -> str:
    """The table as text, with what its last lines mean."""
    head = ("statement", "published", "here")
    lines = tables.table(head, [tuple(row.values()) for row in rows], flush_left=len(head))
    return (
        f"{lines}\n"
        f"Task: one of {training.SYMBOLS} symbols, to be recalled 1 to {config.max_lag} steps after it"
        f" was shown; chance is {1 / training.SYMBOLS:.0%}. Gradient: median\nover {config.seeds} seeds"
        " of the largest lag up to which it keeps 1/100 of its norm at lag 1, of"
        f" {config.measured_steps} at most. Right: mean of the seeds\nafter {config.updates} updates,"
        " near the first tenth of the lags, far their second half. f, g, i of the memory that flips and"
        "\nthe GRU's numbers are ours."
    )


def first_below(log_norms: list[float], level: float) -> int:
    """The first lag at which a curve is below a level."""
    return int(np.argmax(np.asarray(log_norms) < np.log(level))) + 1
