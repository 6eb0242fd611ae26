r"""Scheduled sampling: what it learns in the limit, and whether it helps where a network errs.

Claim: a network that reads its own tokens in training with probability 1 - p learns, of two symbols, not
P(x_2 | x_1) but p P(x_2 | x_1) + (1 - p) P(x_2): with p = 0 the marginal distribution. (F. Huszár, "How
(not) to train your generative model", 2015; S. Bengio et al., "Scheduled sampling for sequence prediction
with recurrent neural networks", 2015.)

    python -m experiments.scheduled_sampling

measures that for p from 1 to 0 beside the closed form, and then trains networks to write 8 digits backwards
through one vector, by teacher forcing and by four schedules: constant p = .5, linear, exponential and inverse
sigmoid decay, none below .25. For each: the share written without an error, and the nats of a true digit after
the true digits and after the network's own, whose difference is what teacher forcing is said to cost.
Protocol: GRU of 48, Adam at .005 falling by a cosine, batches of 64 new numbers, one coin for each token of each
row. 263 seconds of the processor; a killed run goes on with --resume --workdir=RUN, network by network.
"""

import dataclasses
from functools import partial
from typing import Any

import numpy as np

from experiments.common import cli, plots, tables
from experiments.common.intervals import half_width, interval
from experiments.common.study_run import StudyRun, open_study
from experiments.scheduled_sampling import digits, toy
from seqjax.errors import check_positive
from seqjax.runs.study import Unit

PROBABILITIES = (1.0, 0.75, 0.5, 0.25, 0.0)


@dataclasses.dataclass(frozen=True)
class Config:
    toy_steps: int = cli.option(500, "updates of a network of two symbols")
    digit_steps: int = cli.option(2000, "updates of a network that writes digits")
    schedules: str = cli.option(
        ",".join(digits.NAMES), f"how digits are learnt, some of {', '.join(digits.NAMES)}"
    )
    sample: bool = cli.option(
        True, "whether a network's own digit is drawn, or else its most probable one"
    )
    seeds: int = cli.option(5, "number of networks of each kind")
    seed: int = cli.option(0, "seed of the study")
    workdir: str = cli.workdir_option("scheduled_sampling")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("toy_steps", "digit_steps", "seeds"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        check_positive("--seeds", self.seeds, at_most=1000)
        cli.chosen("--schedules", self.schedules, digits.NAMES)


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes table.txt, results.json and the figure."""
    names = cli.chosen("--schedules", config.schedules, digits.NAMES)
    units: dict[str, Unit] = {}
    seeds = range(config.seed, config.seed + config.seeds)
    for p in PROBABILITIES:
        how: dict[str, Any] = {"seeds": seeds, "num_steps": config.toy_steps}
        units[f"two symbols, p = {p}"] = partial(_toy, p, **how)
    for name in names:
        units[f"digits, {name}"] = partial(_digits, name, config, seeds)
    expect = f"{len(units)} kinds of network, {config.seeds} of each"
    with open_study("scheduled_sampling", config, expect=expect) as study:
        rows = study.rows(units, "networks.jsonl")
        return finish(study, rows, names)


def _toy(p: float, key: Any, *, seeds: range, num_steps: int) -> dict[str, Any]:
    return toy.measured(p, seeds=seeds, num_steps=num_steps, key=key)


def _digits(name: str, config: Config, seeds: range, key: Any) -> dict[str, Any]:
    how: dict[str, Any] = {"seeds": seeds, "num_steps": config.digit_steps}
    return dict(digits.measured(name, sample=config.sample, key=key, **how))


def finish(
    study: StudyRun, rows: dict[str, dict[str, Any]], names: tuple[str, ...]
) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    found = {p: np.array(rows[f"two symbols, p = {p}"]["second"]) for p in PROBABILITIES}
    by_schedule = {name: rows[f"digits, {name}"] for name in names}
    lines = []
    for p, values in found.items():
        wanted = toy.closed_form(p)[:, 1]
        shown = [interval(values[:, x]) for x in (0, 1)]
        lines.append([f"p = {p}", *(f"{s}  ({w:.3f})" for s, w in zip(shown, wanted, strict=True))])
    head = ["two symbols: measured (closed form)", "Q(x2 = 1 | x1 = 0)", "Q(x2 = 1 | x1 = 1)"]
    first = tables.table(head, lines)
    lines = []
    for name, row in by_schedule.items():
        true, own = np.array(row["true_prefix"]), np.array(row["own_prefix"])
        columns = (np.array(row["exact"]), true, own, own - true)
        lines.append([name, *map(interval, columns)])
    head = ["digits backwards", "exact", "nats after the true", "after its own", "difference"]
    second = tables.table(head, lines)
    figure(study, found, by_schedule)
    results = {"two_symbols": {str(p): v.tolist() for p, v in found.items()}, "digits": by_schedule}
    study.finish(results, f"{first}\n\n{second}")
    return results


def figure(
    study: StudyRun, found: dict[float, np.ndarray], by_schedule: dict[str, dict[str, Any]]
) -> None:
    """The closed form with what was measured, and the share of numbers that are right."""
    with plots.panels(study.workdir / "scheduled_sampling.png", 2) as (left, right):
        grid = np.linspace(0, 1, 50)
        for x in (0, 1):
            line = [toy.closed_form(float(p))[x, 1] for p in grid]
            left.plot(
                grid, line, plots.LINES[x], color=plots.COLOURS[x], label=f"closed form, x₁ = {x}"
            )
            for p, values in found.items():
                left.plot(
                    [p] * len(values), values[:, x], "o", color=plots.COLOURS[x], ms=4, alpha=0.6
                )
        left.legend(frameon=False)
        plots.label(
            left,
            xlabel="p, probability that the true x₁ is read",
            ylabel="Q(x₂ = 1 | x₁)",
            title="what is learnt (dots: networks)",
        )
        for place, row in enumerate(by_schedule.values()):
            values = np.array(row["exact"])
            half = half_width(values)
            error = None if np.isnan(half) else [[half], [half]]
            colour = plots.COLOURS[place % len(plots.COLOURS)]
            right.errorbar(values.mean(), -place, xerr=error, fmt="o", color=colour, capsize=3)
        right.set_yticks([-i for i in range(len(by_schedule))], list(by_schedule))
        plots.label(
            right,
            xlabel="share written without an error",
            ylabel="",
            title=f"{digits.LENGTH} digits backwards",
        )
