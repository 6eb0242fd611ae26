"""Which methods bridge a long lag, on the tasks that were designed to test it.

Claims, each by the protocol and the criterion of its paper, on synthetic tasks of `seqjax.tasks`:

    --study=default  temporal order at two lengths, nine methods; or --task, --methods, --lengths
    --study=pascanu  clipping the gradient's norm lengthens the lag that plain descent learns, and the
                     regulariser Ω lengthens it further (Pascanu, Mikolov and Bengio, 2013, Fig. 7)
    --study=adding   a ReLU network that starts as the identity adds over 150 steps as well as an
                     LSTM does, and a tanh network does not (Le, Jaitly and Hinton, 2015)
    --study=reber    on an endless stream an LSTM needs its forget gate (Gers, Schmidhuber and
                     Cummins, 2000)
    --study=hs97     the LSTM of 1997 learns to add over 100 steps in 74,000 sequences and temporal
                     order in 31,390 (Hochreiter and Schmidhuber, 1997, experiments 4 and 6a)

    python -m experiments.long_lags [--study=...]

prints first how many minutes to expect (CPU time of one core, as measured). A killed run goes on with
`--resume --workdir=...`, unit by unit.

Protocols. Pascanu: 50 units, batches of 20, fresh sequences, plain descent at rate .01 without
momentum, norms clipped at 1, Ω of the paper's form (norms, summed over time) with weight 4; a seed
succeeds when less than 1% of 10,000 fresh sequences are wrong, looked at every 500 updates. The
paper allows 5,000,000 updates, `--updates` here far fewer. "default" trains gated networks by Adam.
Le: 100 units, batches of 16, plain descent, a grid of rates and clips; the tanh network starts from an
orthogonal recurrent matrix and input weights N(0, .01), and all readouts from N(0, .01); every batch is fresh, where
the paper has 100,000 fixed sequences; the paper does not say where the markers stand. Gers: the
protocol of a public port: 12 units, Adam at .01, biases -1 for input and output gates and 1 for the
forget gate, norms clipped at 5, the state carried on; chunks of 72 symbols where the port has six
strings. Hochreiter and Schmidhuber: one sequence at a time, two blocks of two cells, the paper's
numbers of weights (93 and 156), truncated gradient, rate .5, input gates biased -3 and -6, or -2
and -4; the average training error of their stopping rule is taken over the same 2000 sequences. With
logistic output units experiment 4 learns the lag in about as many sequences but never has 2000 right
in a row: some .5% stay wrong, those whose target is within a tenth of 0 or 1, where the logistic
unit is flat. A linear output unit (tried after that was seen) meets the rule.
"""

import dataclasses
from functools import partial
from typing import Any

import jax

from experiments.common import cli
from experiments.common.flag_lists import positive_numbers, whole_numbers
from experiments.common.study_run import open_study
from experiments.long_lags.methods import METHODS
from experiments.long_lags.studies import ADDERS, CHECK_EVERY, STUDIES, Plan
from seqjax.errors import InputError, check_positive
from seqjax.runs.study import Unit
from seqjax.tasks import TASKS
from seqjax.types import Array

OWN = "0 for the study's own"


@dataclasses.dataclass(frozen=True)
class Config:
    study: str = cli.option("default", "what to reproduce, see above", choices=tuple(STUDIES))
    task: str = cli.option(
        "temporal_order_2_bit", "the task of --study=default", choices=tuple(sorted(TASKS))
    )
    methods: str = cli.option(
        "sgd,clip,omega,leaky,skip,orthogonal,irnn,lstm,gru",
        f"methods of --study=default, separated by commas: some of {', '.join(METHODS)}",
    )
    lengths: str = cli.option("50,100", "lengths T of --study=default, separated by commas")
    cells: str = cli.option(
        ",".join(ADDERS), f"cells of --study=adding, some of {', '.join(ADDERS)}"
    )
    rates: str = cli.option("0.1,0.01,0.001", "learning rates of --study=adding")
    clips: str = cli.option("1,100", "norms of --study=adding at which gradients are clipped")
    updates: int = cli.option(0, f"most updates of a network (hs97: sequences); {OWN}")
    seeds: int = cli.option(0, f"networks to train for each method and length; {OWN}")
    seed: int = cli.option(0, "seed of the weights and the data")
    workdir: str = cli.workdir_option("long_lags")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("updates", "seeds"):
            if getattr(self, name):
                check_positive(f"--{name}", getattr(self, name))
        piece = STUDIES[self.study].piece
        few = piece == CHECK_EVERY and self.updates < piece  # one test, after the last update
        if self.updates % piece and not few:
            raise InputError(
                f"--updates of --study={self.study} must be a multiple of {piece}, got {self.updates}."
            )
        plan = self.plan()
        if self.study == "default":
            for length in plan.lengths:  # the task refuses a length that it cannot have
                jax.eval_shape(lambda key, n=length: TASKS[self.task](key, 1, n), jax.random.key(0))

    def plan(self) -> Plan:
        """What the flags say, with the study's own values where they say nothing."""
        methods = cli.chosen("--methods", self.methods, METHODS)
        lengths = tuple(sorted(set(whole_numbers("--lengths", self.lengths))))
        study = STUDIES[self.study]
        updates, seeds = self.updates or study.updates, self.seeds or study.seeds
        cells = cli.chosen("--cells", self.cells, ADDERS)
        rates, clips = (positive_numbers(f"--{n}", getattr(self, n)) for n in ("rates", "clips"))
        return Plan(self.task, methods, lengths, updates, seeds, cells, rates, clips)


def alone(unit: Unit, key: Array) -> dict[str, Any]:
    """The row of a unit, whose compiled programs no other unit uses: they are dropped."""
    row = unit(key)
    jax.clear_caches()
    return row


def command(config: Config, plan: Plan) -> str:
    """The command line that makes the same run, with the numbers the study filled in."""
    flags = [f"--study={config.study}", f"--seed={config.seed}"]
    flags += [f"--updates={plan.updates}", f"--seeds={plan.seeds}"]
    if config.study == "default":
        flags += [f"--{name}={getattr(config, name)}" for name in ("task", "methods", "lengths")]
    if config.study == "adding":
        flags += [f"--{name}={getattr(config, name)}" for name in ("cells", "rates", "clips")]
    return " ".join(["python -m experiments.long_lags", *flags])


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes results.json, table.txt and the study's figures."""
    study, plan = STUDIES[config.study], config.plan()
    expect = (
        f"{config.study}: about {study.minutes:g} minutes of one CPU core with its own budget of"
        f" {study.updates:,} updates and {study.seeds} seeds"
    )
    with open_study("long_lags", config, expect=expect) as study_run:
        units = {name: partial(alone, unit) for name, unit in study.units(plan).items()}
        rows = study_run.rows(units, "cells.jsonl")
        table = study.report(study_run.workdir, rows)
        table += f"\nbudget: {plan.updates:,} updates, {plan.seeds} seeds; {command(config, plan)}"
        study_run.finish(rows, table)
    return rows
