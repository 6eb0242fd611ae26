"""What an LSTM's forget bias is at the start decides how far back it can learn to look.

Claims. A cell keeps f of its content at every step; with bias b, f is about σ(b) before anything is
learnt, and f to the power of the lag is what a gradient has to find its way through: 1e-6 is left
after 20 steps with bias 0, 2e-3 with 1, 8e-2 with 2. So the LSTM should start with a bias of 1 or more
(Gers, Schmidhuber and Cummins, 2000; Jozefowicz, Zaremba and Sutskever, 2015: with it "LSTM-b" comes
near or above the GRU, and the forget gate is the one gate an LSTM cannot do without), or with biases
spread over the lags of the task ("chrono", Tallec and Ollivier, 2018).

    python -m experiments.forget_bias                      temporal order and adding over 60 steps
    python -m experiments.forget_bias --study=copying      two of four symbols, given back after 56 steps
    python -m experiments.forget_bias --study=arithmetic   sums of the paper, see seqjax.tasks.arithmetic
    python -m experiments.forget_bias --study=xml          nested tags, see seqjax.tasks.xml

each sweeps forget bias x learning rate x seed, sets the paper's other networks beside it (GRU, tanh,
LSTM without a gate, MUT1 to 3, and the LSTM whose output gate is a tanh, as the paper has it in
print), draws accuracy against bias, what an untrained cell keeps, and learning curves, and says first
how many minutes to expect. A killed run goes on with `--resume --workdir=...`, unit by unit. Every
unit is one compiled program: a bias is an initial value, so that all biases are one batch (toys), or
one program that is called again (streams).

Protocols. Toys: 16 units, batches of 20 fresh sequences, Adam, norms clipped at 1, tested on 1000
sequences that are the same for all biases. Streams: the paper's batches of 20, windows of 35 steps, the
state carried on, plain descent on the mean loss of the characters that count, clipped norms; accuracy
on those characters of a fresh stream. Unlike the paper: one layer of 100 units for all networks (there 1
to 4 layers, 250,000 or a million weights); numbers of at most 4 digits (there 8; --max_digits); a
fixed count of updates at a constant rate, where there the best of hundreds of settings was trained
until it stopped improving and its rate then halved (--patience does that, judged by other data than is
reported). All accuracies are therefore lower than the published ones; what can be compared is the order. Weights start as U(-1/√H, 1/√H), the middle of the
paper's grid; inputs are one-hot, which an LSTM's and a GRU's own kernel embeds.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax

from experiments.common import cli
from experiments.common.engines import EngineConfig
from experiments.common.flag_lists import positive_numbers
from experiments.common.study_run import open_study
from experiments.forget_bias.memory import retained
from experiments.forget_bias.report import report
from experiments.forget_bias.schedule import HALVINGS
from experiments.forget_bias.tasks import CHRONO, OTHERS, Task, tasks
from experiments.forget_bias.training import Setting, train
from seqjax.errors import InputError, check_positive
from seqjax.search.engines import Record

OWN = "0 for the study's own"


class Study(NamedTuple):
    setting: Setting
    length: int
    rates: tuple[float, ...]
    minutes: float  # on 2 CPU cores


TOYS = Setting(16, 20, 1000, 10, 5, clip=1.0, optimizer="adam", test_size=1000)
STREAM = Setting(100, 20, 5000, 20, 3, clip=5.0, optimizer="sgd", test_size=1000)
STUDIES = {
    "toys": Study(TOYS, 60, (0.003, 0.01), 5),
    "copying": Study(TOYS, 60, (0.003, 0.01), 4),
    "arithmetic": Study(STREAM, 35, (2.0,), 21),
    "xml": Study(STREAM, 35, (2.0,), 19),
}


@dataclasses.dataclass(frozen=True)
class Config(EngineConfig):
    study: str = cli.option("toys", "which tasks to train on, see above", choices=tuple(STUDIES))
    biases: str = cli.option(
        "-2,-1,0,1,2,3,4,5,chrono", "forget biases: numbers and chrono, separated by commas"
    )
    networks: str = cli.option(
        "all",
        f"networks to train beside the LSTM: all, none, or some of {'; '.join(OTHERS)}; separated by"
        " semicolons",
    )
    rates: str = cli.option("", "learning rates, separated by commas; empty for the study's own")
    length: int = cli.option(0, f"steps of a sequence, or of a window of a stream; {OWN}")
    max_digits: int = cli.option(4, "most digits of a number in --study=arithmetic, 1 to 9")
    hidden_size: int = cli.option(0, f"units of a network; {OWN}")
    updates: int = cli.option(0, f"updates of each network; {OWN}")
    checks: int = cli.option(0, f"most tests of each network, as many as divide its updates; {OWN}")
    patience: int = cli.option(
        0,
        "tests without a better score on other data after which the rate is halved, before each of"
        f" {HALVINGS} more; 0 for a constant rate",
    )
    seeds: int = cli.option(0, f"networks to train for each bias and rate; {OWN}")
    seed: int = cli.option(0, "seed of the weights and the data")
    workdir: str = cli.workdir_option("forget_bias")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("length", "hidden_size", "updates", "checks", "patience", "seeds"):
            if getattr(self, name):
                check_positive(f"--{name}", getattr(self, name), at_most=10**7)
        check_positive("--max_digits", self.max_digits, 9)
        if self.patience >= (checks := self.setting().checks):
            raise InputError(
                f"--patience must be below the number of tests, which is {checks}, got {self.patience}."
            )
        self.bias_labels(), self.others(), self.learning_rates(), self.tasks()
        if CHRONO in self.bias_labels() and self.steps() < 3:
            raise InputError(
                f"chrono biases need --length of at least 3 steps, got {self.steps()}."
            )

    def steps(self) -> int:
        return self.length or STUDIES[self.study].length

    def tasks(self) -> dict[str, Task]:
        return tasks(self.study, self.steps(), self.max_digits)

    def setting(self) -> Setting:
        """The study's own with what the flags change, and as many tests as divide the updates."""
        own = STUDIES[self.study].setting
        updates, most = self.updates or own.updates, self.checks or own.checks
        return own._replace(
            hidden=self.hidden_size or own.hidden,
            updates=updates,
            checks=max(n for n in range(1, min(most, updates) + 1) if updates % n == 0),
            patience=self.patience,
            seeds=self.seeds or own.seeds,
        )

    def bias_labels(self) -> tuple[str, ...]:
        """ "b = 3" for a number, and "chrono"."""
        try:
            return tuple(
                CHRONO if part == CHRONO else f"b = {float(part):g}"
                for part in dict.fromkeys(self.biases.split(","))
            )
        except ValueError as error:
            raise InputError(
                f"--biases takes numbers and chrono, separated by commas, got {self.biases!r}."
            ) from error

    def others(self) -> tuple[str, ...]:
        """The networks beside the LSTM."""
        if self.networks in ("all", "none"):
            return OTHERS if self.networks == "all" else ()
        chosen = tuple(dict.fromkeys(part.strip() for part in self.networks.split(";")))
        for name in chosen:
            if name not in OTHERS:
                raise InputError(
                    f"unknown network {name!r} in --networks; choose from {'; '.join(OTHERS)}."
                )
        return chosen

    def learning_rates(self) -> tuple[float, ...]:
        return positive_numbers("--rates", self.rates) if self.rates else STUDIES[self.study].rates


def one_unit(
    config: Config, task: str, network: str, labels: tuple[str, ...], rate: float
) -> dict[str, Any]:
    """The row of a unit; all start from the same key, so that they share weights and sequences."""
    shared = jax.random.key(config.seed)
    row = train(config.setting(), config.tasks()[task], network, labels, rate, shared)
    return {"task": task, **row}


def units(config: Config) -> dict[str, Callable[[], dict[str, Any]]]:
    """The units by name. Toys train all biases in one unit; a stream's bias, minutes long, is one."""
    by_name: dict[str, Callable[[], dict[str, Any]]] = {}
    for (name, task), rate in product(config.tasks().items(), config.learning_rates()):
        biases = config.bias_labels()
        for labels in [(label,) for label in biases] if task.carried else [biases]:
            key = f"{name}, LSTM, {labels[0] if task.carried else 'all biases'}, rate={rate:g}"
            by_name[key] = partial(one_unit, config, name, "LSTM", labels, rate)
    for name, network, rate in product(config.tasks(), config.others(), config.learning_rates()):
        key = f"{name}, {network}, rate={rate:g}"
        by_name[key] = partial(one_unit, config, name, network, ("-",), rate)
    return by_name


def evaluate(record: Record) -> dict[str, Any]:
    """The row of the unit that a record names, with the config of its study."""
    return units(Config(**record["config"]))[record["unit"]]()


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes results.json, table.txt and the figures."""
    setting = config.setting()
    expect = (
        f"{config.study}: about {STUDIES[config.study].minutes:g} minutes on 2 CPU cores with its"
        f" own sizes; here {setting.updates:,} updates of {setting.hidden} units,"
        f" {setting.seeds} seeds"
    )
    with open_study("forget_bias", config, expect=expect) as study:
        own = dataclasses.asdict(dataclasses.replace(config, workdir="", resume=False))
        records = {name: {"config": own, "unit": name} for name in units(config)}
        rows = study.evaluated("experiments.forget_bias.program:evaluate", records, "units.jsonl")
        task, first = next(iter(config.tasks().items()))
        memory = retained(setting, first, config.bias_labels(), jax.random.key(config.seed))
        memory["task"] = task
        steps = f", T = {config.steps()}" if config.study in ("toys", "copying") else ""
        text = report(study.workdir, rows, memory, steps)
        most = "at most " * bool(setting.patience)
        text += (
            f"\n\n{most}{setting.updates:,} updates, {setting.hidden} units, {setting.seeds} seeds"
        )
        results = {"units": rows, "memory": memory}
        study.finish(results, text)
    return results
