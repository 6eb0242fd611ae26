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
import time
from functools import partial
from typing import Any

import numpy as np

from experiments.common import cli
from experiments.vanishing_gradient import figures, theory, training
from seqjax.errors import InputError, check_positive, check_rate
from seqjax.files.json import read_object, write_json
from seqjax.runs.results import write_results
from seqjax.runs.study import work_through
from seqjax.runs.workdir import check_same, open_workdir
from seqjax.types import Array

NAME = "vanishing_gradient"


@dataclasses.dataclass(frozen=True)
class Config:
    hidden_size: int = cli.option(32, "hidden units")
    max_lag: int = cli.option(100, "the longest lag of the task, and its length")
    batch_size: int = cli.option(32, "sequences in an update")
    updates: int = cli.option(1500, "updates of Adam, gradients clipped to norm 1")
    learning_rate: float = cli.option(3e-3, "of Adam")
    seeds: int = cli.option(3, "networks of each kind; medians are shown")
    measured_steps: int = cli.option(300, "length of the sequences gradients are measured on")
    rows: int = cli.option(32, "sequences they are measured on")
    theory_steps: int = cli.option(200, "length of the linear recurrences")
    seed: int = cli.option(0, "of parameters and data")
    workdir: str = cli.workdir_option("vanishing_gradient")
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
        if self.resume and not self.workdir:
            raise InputError("--resume needs --workdir=DIRECTORY, the run to go on with.")


def family(config: Config, name: str, key: Array) -> dict[str, Any]:
    """The row of a family, which makes its keys from config.seed, so that families share seeds."""
    del key
    return training.study(name, config, lambda n: print(".", end="", flush=True))


def run(config: Config) -> dict[str, Any]:
    """Everything that is measured, written as results.json and figures to the working directory."""
    started = time.monotonic()
    with open_workdir(config.workdir, name=NAME, resume=config.resume) as workdir:
        if config.resume:
            saved = read_object(workdir / "config.json")
            check_same(saved, config, workdir)
        write_json(workdir / "config.json", dataclasses.asdict(config))
        results: dict[str, Any] = {
            "linear": theory.linear_theory(config.theory_steps),
            "sufficient": theory.small_singular_values_suffice(),
            "nilpotent": theory.explodes_with_zero_eigenvalues(),
            "scalar": theory.scalar_decays(),
            "lstm_flip": theory.lstm_flip(),
            "gru_cases": theory.gru_cases(),
        }
        units = {name: partial(family, config, name) for name in training.FAMILIES}
        rows = work_through(
            units, workdir / "families.jsonl", seed=config.seed, resume=config.resume
        )
        networks = {name: row[name] for row in rows.values() for name in row}
        results["networks"] = networks
        results["table"] = table(results)
        figures.draw(workdir, results)
        seconds = time.monotonic() - started
        write_results(workdir, experiment=NAME, config=config, results=results, seconds=seconds)
        print(f"\nresults.json and figures in {workdir}")
    return results


def table(results: dict[str, Any]) -> list[dict[str, str]]:
    """Statement, published value, ours."""
    linear, flip = results["linear"], results["lstm_flip"]
    sheared, sufficient = linear["sheared"], results["sufficient"]
    nilpotent = results["nilpotent"]
    ends = {name: np.exp(curve[-1]) for name, curve in results["scalar"].items()}
    half = results["scalar"]["rnn 0.5"]
    steps = len(linear["log_norms"]["1.0"])
    # fmt: off
    rows = [
        ("linear RNN, U = s·Q: gradient over t steps", "sᵗ",
         f"sᵗ, s = 0.9, 1, 1.1, t to {steps}: log off by {linear['largest_error_of_log']:.0e}"),
        ("largest singular value < 1: vanishes", "always",
         f"tanh, 0.95: {sufficient['above_the_bound']} of {sufficient['draws']} above 0.95ᵗ"),
        ("... sufficient, not necessary", "sufficient but not necessary",
         f"tanh, 1.5: {sufficient['vanished_with_large']} of {sufficient['draws']} vanish (t = 100)"),
        ("largest singular value > 1: explodes", "explodes (slide)",
         f"not by itself: σ₁ {sheared['largest_singular_value']:.2f}, ρ"
         f" {sheared['spectral_radius']:.2f}: peak {sheared['peak']:.1f} at"
         f" {sheared['peak_lag']}, then {sheared['end']:.0e}"),
        ("an eigenvalue above 1 is needed to explode", "necessary (as often quoted)",
         f"ReLU breaks it: ρ {nilpotent['spectral_radius']:.0g}, yet"
         f" ×{nilpotent['growth_per_step']:.2f} per step"),
        ("RNN, factor 0.5, 100 steps", "below floating-point precision",
         f"{ends['rnn 0.5']:.1e}: lost beside 1 in float32 from {first_below(half, 2**-23.5)} on,"
         f" no underflow before 127"),
        ("LSTM cell state, 100 steps", "survives", ", ".join(
            f"f = {f}: {ends[f'lstm {f}']:.1e}" for f in theory.FORGET)),
        ("LSTM: plural to singular in one step", "large + to -, as f small, i large",
         f"f {flip['f']}, i {flip['i']}, g {flip['g']}: c {flip['c']:+.2f} to {flip['new_c']:+.2f}"),
    ]
    says = ("close to the old state", "close to the candidate")
    for case, published in zip(results["gru_cases"], says, strict=True):
        rows.append((
            f"GRU, keeps {case['kept']} of the old state", published,
            f"old {case['h']:+.2f}, candidate {case['candidate']:+.2f}: {case['new_h']:+.2f}"))
    # fmt: on
    lectures = {"tanh": "about 7; about 20", "LSTM": "about 100"}
    for name, network in results["networks"].items():
        before, after = network["initial"], network["trained"]
        shown = [statistics.median(f["horizon"]["0.01"]) for f in (before, after)]
        rows.append(
            (
                f"{name}: steps back",
                lectures.get(name.split(",")[0], "-"),
                f"gradient {shown[0]:.0f} untrained, {shown[1]:.0f} trained; right"
                f" {statistics.mean(after['near']):.0%} near, {statistics.mean(after['far']):.0%} far",
            )
        )
    return [dict(zip(("statement", "published", "ours"), row, strict=True)) for row in rows]


def first_below(log_norms: list[float], level: float) -> int:
    """The first lag at which a curve is below a level."""
    return int(np.argmax(np.asarray(log_norms) < np.log(level))) + 1


def main(config: Config) -> None:
    print("takes about 3 minutes on 2 CPU cores", flush=True)
    results = run(config)
    head = {"statement": "statement", "published": "published", "ours": "here"}
    rows = [head, *results["table"]]
    widths = {column: max(len(row[column]) for row in rows) for column in head}
    for row in rows:
        print("  ".join(row[column].ljust(width) for column, width in widths.items()).rstrip())
    print(
        f"Task: one of {training.SYMBOLS} symbols, to be recalled 1 to {config.max_lag} steps after it"
        f" was shown; chance is {1 / training.SYMBOLS:.0%}. Gradient: median\nover {config.seeds} seeds"
        " of the largest lag up to which it keeps 1/100 of its norm at lag 1, of"
        f" {config.measured_steps} at most. Right: mean of the seeds\nafter {config.updates} updates,"
        " near the first tenth of the lags, far their second half. f, g, i of the memory that flips and"
        "\nthe GRU's numbers are ours."
    )
