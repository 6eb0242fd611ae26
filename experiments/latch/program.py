"""One unit learns to store one bit: for how many steps it still can (Bengio et al., 1994).

Claim: the probability that gradient descent teaches a tanh unit to hold one bit for T noisy steps
falls from 1 at T = 10 to a few percent at T = 60 (Fig. 2b), and vanishes where the recurrent weight
starts below 1 or the noise is large (Fig. 2a). Source: Y. Bengio, P. Simard and P. Frasconi, "Learning
long-term dependencies with gradient descent is difficult", IEEE Trans. Neural Networks 5, 1994.

    python -m experiments.latch

took 5 minutes on 2 CPU cores that had other work beside it. A killed run goes on with
`--resume --workdir=...`, length by length.

The paper gives neither learning rate nor number of updates, nor sequences, nor its criterion. Here a
run succeeds if after 600 updates of batch gradient descent x_T has the right sign on every training
sequence. "w trained": from w = 1.25, 8 sequences a class. The rate moves the curve: of .02, .03, .05
and .1 the smallest comes closest to the published points, so it is the one that stands beside them
(a choice after the fact, as any would be), and .05 and .1 are drawn too. "w fixed": only the inputs
learn, 3 sequences a class, rate 0.5. The paper calls the noise s = 0.2 a variance; here it is a
standard deviation. Expected: within .12 of the published points at T = 10, 15, 20, 30 and 50.

Two causes are told apart with w fixed: training without noise leaves the vanishing gradient alone,
inputs of ±1 set by hand leave the flips by noise alone. Other units on the same task learn all their
weights and a readout v·h + c, by Adam at 0.01: under the plain descent above the readout learns to
cancel the state of both classes, and none of 60 tanh units succeeds at T = 30. The last
baseline is random guessing (Hochreiter and Schmidhuber, 1997).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.common import cli
from experiments.common.flag_lists import whole_numbers
from experiments.common.intervals import wilson
from experiments.common.study_run import open_study
from experiments.latch import guess as latch_guess
from experiments.latch import report as latch_report
from experiments.latch.task import FREE_STEPS, UNITS, Case, by_hand, trial
from seqjax.errors import InputError, check_not_negative, check_positive
from seqjax.runs.study import Unit
from seqjax.types import Array

W0 = 1.25
TRAINED = Case("paper", weights_trained=True, per_class=8, learning_rate=0.02)
OTHER_RATES = (0.05, 0.1)
FIXED = Case("paper", weights_trained=False, per_class=3, learning_rate=0.5)
UNIT_CASES = {
    name: Case(name, weights_trained=True, per_class=8, learning_rate=0.01, adam=True)
    for name in UNITS
}
GRID_LENGTH = 20  # T of Fig. 2a
GUESS_LIMIT = 2.0
TWO_SEQUENCE = {"runs": 30, "length": 100, "variance": 0.2, "per_class": 8}


@dataclasses.dataclass(frozen=True)
class Config:
    lengths: str = cli.option(
        "5,10,15,18,20,22,23,24,25,26,28,30,32,35,38,40,41,45,50,60",
        "lengths T of Fig. 2b, separated by commas",
    )
    unit_lengths: str = cli.option(
        "10,30,60", "lengths T at which units are compared, separated by commas"
    )
    runs: int = cli.option(200, "networks to train for each length")
    updates: int = cli.option(600, "updates of each network")
    noise: float = cli.option(0.2, "standard deviation of the noise in Fig. 2b")
    grid: int = cli.option(21, "numbers of weights and of noise levels in Fig. 2a, at least 2")
    grid_runs: int = cli.option(18, "networks to train for each cell of Fig. 2a; published: 18")
    max_guesses: int = cli.option(10_000, "guesses after which random guessing gives up")
    seed: int = cli.option(0, "seed of the weights and the noise")
    workdir: str = cli.workdir_option("latch")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("runs", "updates", "grid_runs", "max_guesses"):
            check_positive(f"--{name}", getattr(self, name))
        check_not_negative("--noise", self.noise)
        if self.grid < 2:
            raise InputError(f"--grid must be an integer of at least 2, got {self.grid}.")
        lengths_of("--lengths", self.lengths)
        lengths_of("--unit_lengths", self.unit_lengths)


def lengths_of(flag: str, text: str) -> list[int]:
    """Lengths T in rising order, each longer than the free inputs."""
    return sorted(set(whole_numbers(flag, text, at_least=FREE_STEPS + 1)))


def studies(config: Config) -> dict[str, Unit]:
    """The units by name, each from a random key to its row.

    One program serves all lengths of a protocol: arrays have the largest length, and T is data.
    """
    return (
        length_units(config)
        | unit_comparison(config)
        | grid_units(config)
        | {"two-sequence": partial(two_sequence, config.max_guesses)}
    )


def curve(
    config: Config, name: str, lengths: list[int], program: Callable, *arguments: float
) -> dict[str, Unit]:
    """The units of a curve over T."""
    return {
        f"{name}, T={length}": partial(curve_point, program, config.runs, length, arguments)
        for length in lengths
    }


def length_units(config: Config) -> dict[str, Unit]:
    """Success against T: trained, untrained and guessed, with and without noise."""
    lengths = lengths_of("--lengths", config.lengths)
    longest = lengths[-1]
    noisy, quiet = (W0, config.noise), (W0, 0.0)

    def learn(case: Case) -> Callable:
        return compiled(partial(trial, case, updates=config.updates, max_length=longest), 4)

    trained, fixed = learn(TRAINED), learn(FIXED)
    units = curve(config, "w trained", lengths, trained, *noisy)
    units |= curve(config, "no noise, w trained", lengths, trained, *quiet)
    for rate in OTHER_RATES:
        program = learn(TRAINED._replace(learning_rate=rate))
        units |= curve(config, f"w trained at rate {rate:g}", lengths, program, *noisy)
    units |= curve(config, "w fixed", lengths, fixed, *noisy)
    units |= curve(config, "no noise, w fixed", lengths, fixed, *quiet)
    hand = compiled(partial(by_hand, FIXED, max_length=longest), 4)
    units |= curve(config, "set by hand", lengths, hand, *noisy)
    guessing = partial(
        latch_guess.latch,
        per_class=TRAINED.per_class,
        limit=GUESS_LIMIT,
        max_length=longest,
        cap=config.max_guesses,
    )
    return units | curve(config, "guessed", lengths, compiled(guessing, 3), config.noise)


def unit_comparison(config: Config) -> dict[str, Unit]:
    """Other units on the same task."""
    lengths = lengths_of("--unit_lengths", config.unit_lengths)
    units: dict[str, Unit] = {}
    for name, case in UNIT_CASES.items():
        learn = partial(trial, case, updates=config.updates, max_length=lengths[-1])
        units |= curve(config, f"unit {name}", lengths, compiled(learn, 4), W0, config.noise)
    return units


def grid_units(config: Config) -> dict[str, Unit]:
    """Fig. 2a: a row of noise levels for each initial weight."""
    levels = np.linspace(0, 1, config.grid)
    learn = partial(trial, TRAINED, updates=config.updates, max_length=GRID_LENGTH)
    over_runs = jax.vmap(learn, (0, None, None, None))
    row = jax.jit(jax.vmap(over_runs, (0, None, None, 0)))  # over noise levels
    return {
        f"grid, w0={w0:.4g}": partial(grid_row, row, config.grid_runs, float(w0), levels)
        for w0 in np.linspace(0.5, 2.5, config.grid)
    }


def compiled(one: Callable, arguments: int) -> Callable:
    """The compiled program of many networks: their keys `[runs]` are its first argument."""
    return jax.jit(jax.vmap(one, (0,) + (None,) * (arguments - 1)))


def curve_point(
    program: Callable, runs: int, length: int, arguments: tuple, key: Array
) -> dict[str, Any]:
    """The row of many networks at one length: shares of what is true or false, medians of numbers."""
    measured = jax.device_get(program(jax.random.split(key, runs), length, *arguments))
    row: dict[str, Any] = {"T": length, "runs": runs}
    if "guesses" in measured:
        solved = measured["guesses"] > 0
        guesses = np.where(solved, measured["guesses"], np.inf)
        measured |= {"success": solved}
        row["guesses"] = float(np.median(guesses))  # null if half of the runs gave up
    if "success" in measured:
        successes = int(measured["success"].sum())
        low, high = wilson(successes, runs)
        row |= {"success": successes / runs, "low": low, "high": high}
    for name in ("latches", "test_error"):
        if name in measured:
            row[name] = float(measured[name].mean())
    for name in ("gradient_start", "gradient_end", "w"):
        if name in measured:
            row[name] = float(np.median(measured[name]))
    return row


def grid_row(
    program: Callable, runs: int, w0: float, levels: np.ndarray, key: Array
) -> dict[str, Any]:
    """The row of one initial weight of Fig. 2a: the share of successes at every noise level."""
    keys = jax.random.split(key, (len(levels), runs))
    measured = program(keys, GRID_LENGTH, w0, levels.astype(np.float32))
    return {
        "w0": w0,
        "noise": levels.tolist(),
        "success": np.asarray(measured["success"]).mean(1).tolist(),
    }


def two_sequence(max_guesses: int, key: Array) -> dict[str, Any]:
    """The 2-sequence problem by random guessing."""
    runs = int(TWO_SEQUENCE["runs"])
    one = partial(
        latch_guess.two_sequence,
        length=int(TWO_SEQUENCE["length"]),
        std=TWO_SEQUENCE["variance"] ** 0.5,
        per_class=int(TWO_SEQUENCE["per_class"]),
        cap=max_guesses,
    )
    measured = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(key, runs)))
    guesses = np.where(measured["guesses"] > 0, measured["guesses"], np.inf)
    return {
        "runs": runs,
        "solved": int((measured["guesses"] > 0).sum()),
        "guesses": float(np.median(guesses)),
        "test_error": float(measured["test_error"].mean()),
    }


def collect(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rows of all units: curves in the order of T, the grid, and the 2-sequence problem."""
    curves: dict[str, list] = {}
    grid = []
    for key, row in rows.items():
        if key.startswith("grid"):
            grid.append(row)
        elif ", T=" in key:
            curves.setdefault(key.rpartition(", T=")[0], []).append(row)
    return {"curves": curves, "grid": grid, "two_sequence": rows["two-sequence"]}


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes results.json, table.txt and four figures."""
    expect = "about 5 minutes on 2 CPU cores with the default flags"
    with open_study("latch", config, expect=expect) as study:
        results = collect(study.rows(studies(config), "cells.jsonl")) | {"noise": config.noise}
        latch_report.draw(study.workdir, results)
        study.finish(results, latch_report.table(results))
    return results
