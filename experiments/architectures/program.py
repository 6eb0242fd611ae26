"""Which gates matter, and whether MUT1 to 3 are better: ten cells on the same tasks and budget.

Claims (Jozefowicz, Zaremba and Sutskever, 2015, Table 1, next-step accuracies): without its forget gate
an LSTM is no better than a tanh network on sums and nested tags; a forget bias of 1 closes most of its
distance to the GRU; the input gate matters more than the output gate; on each task one of MUT1 to 3 is
the best.

    python -m experiments.architectures
    python -m experiments.architectures --tasks=words --data=PATH/ptb_word --parameters=1000000

trains every cell at a few settings drawn from the paper's grid, the same for all cells: scale of the
weights, learning rate, largest norm of the gradient, layers, and a budget of parameters into which as many
units are put as fit. The best by validation is trained again with new weights for several seeds, whose
test accuracies give a mean and a 95% interval; claims are tested by Welch's t. A killed run goes on
with `--resume --workdir=...`. With no flag it takes about half an hour on 2 CPU cores.

As published: inputs embedded to the size of the state, batches of 20, windows of 35 steps, the state
carried on, plain descent, the rate halved at each of four epochs after three without a gain. Unlike
the paper: 6 draws instead of some 220, 20,000 parameters instead of 250,000 and a million (5 million for
words), 1 or 2 layers instead of 1 to 4, numbers of at most 4 digits instead of 8, at most 6 epochs of
1,000 windows, each of new text for sums and tags. All accuracies are therefore lower than the published
ones; what can be compared is the order.
"""

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.architectures.jobs import Job, Setting, draw_setting, job_from_json, job_to_json
from experiments.architectures.networks import NETWORKS
from experiments.architectures.report import report
from experiments.architectures.tasks import STREAMS, WORDS, Sizes
from experiments.architectures.training import evaluate, prepare
from experiments.common import cli
from experiments.common.engines import EngineConfig, where
from experiments.common.flag_lists import whole_numbers
from experiments.common.jozefowicz import NETWORKS as PUBLISHED
from experiments.common.study_run import open_study
from seqjax.devices.mesh import use_cpu_devices
from seqjax.errors import InputError, check_not_negative, check_positive
from seqjax.search.engines import Record
from seqjax.tasks.sums import MOST_DIGITS

NAME = "architectures"
EVALUATE = "experiments.architectures.program:evaluate_record"
BATCH_SIZE, WINDOW = 20, 35
Row = dict[str, Any]
FIELDS = {"task", "network", "layers", "parameters", "units", "settings"}  # of a row


@dataclasses.dataclass(frozen=True)
class Config(EngineConfig):
    tasks: str = cli.option(
        "arithmetic,xml", f"tasks, separated by commas: some of {', '.join((*STREAMS, WORDS))}"
    )
    cells: str = cli.option(
        "all", f"cells, separated by commas: all (the paper's), or some of {', '.join(NETWORKS)}"
    )
    draws: int = cli.option(6, "settings of the paper's grid at which every cell is trained")
    layers: str = cli.option(
        "1,2", "numbers of layers to draw from, separated by commas; published: 1,2,3,4"
    )
    parameters: str = cli.option(
        "20000",
        "numbers of parameters to draw from, separated by commas; published: 250000,1000000",
    )
    updates: int = cli.option(1000, "updates in an epoch, one for each window")
    epochs: int = cli.option(6, "most epochs of a training")
    held_out: int = cli.option(40, "windows for validation, and as many for the test")
    seeds: int = cli.option(4, "trainings of the best setting, for the confidence interval")
    max_digits: int = cli.option(4, "most digits of a number in arithmetic, 1 to 9; published: 8")
    data: str = cli.option("stdlib", "the text for words: stdlib, hf:NAME or a path")
    devices: int = cli.option(
        2, "most CPU cores, or other devices, that share the settings", may_differ=True
    )
    seed: int = cli.option(0, "seed of the settings and the weights")
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("draws", "updates", "epochs", "held_out", "devices"):
            check_positive(f"--{name}", getattr(self, name))
        if check_positive("--seeds", self.seeds) < 2:
            raise InputError("--seeds must be at least 2, for an interval, got 1.")
        check_positive("--max_digits", self.max_digits, MOST_DIGITS)
        check_not_negative("--seed", self.seed)
        if WORDS not in self.task_names() and self.data != "stdlib":
            raise InputError(f"--data is the text for --tasks={WORDS}, got {self.data!r}.")
        self.networks()
        for name in ("layers", "parameters"):
            self.numbers(name)

    def task_names(self) -> tuple[str, ...]:
        return cli.chosen("--tasks", self.tasks, (*STREAMS, WORDS))

    def networks(self) -> tuple[str, ...]:
        return (
            tuple(PUBLISHED) if self.cells == "all" else cli.chosen("--cells", self.cells, NETWORKS)
        )

    def numbers(self, name: str) -> tuple[int, ...]:
        """The integers of the flag `name`."""
        return whole_numbers(f"--{name}", getattr(self, name))


def draws_of(config: Config) -> dict[tuple[int, int], tuple[Setting, ...]]:
    """The settings by layers and parameters, the same for every cell and task."""
    rng = np.random.default_rng(config.seed)
    settings: dict[tuple[int, int], tuple[Setting, ...]] = {}
    for _ in range(config.draws):
        shape = (
            int(rng.choice(config.numbers("layers"))),
            int(rng.choice(config.numbers("parameters"))),
        )
        settings[shape] = (*settings.get(shape, ()), draw_setting(rng))
    return dict(sorted(settings.items()))


def job_of(
    config: Config, task: str, network: str, shape: tuple[int, int], settings: tuple[Setting, ...]
) -> Job:
    layers, parameters = shape
    return Job(
        network=network,
        task=task,
        settings=settings,
        parameters=parameters,
        layers=layers,
        sizes=Sizes(BATCH_SIZE, WINDOW, config.updates, config.held_out),
        max_epochs=config.epochs,
        max_digits=config.max_digits,
        data=config.data if task == WORDS else "",
        seed=config.seed,
    )


def record_of(config: Config, job: Job) -> Record:
    """What `evaluate_record` computes the row of a job from, on whatever machine.

    A process of its own has one core, and one device.
    """
    return {"job": job_to_json(job), "devices": config.devices if where(config) == "here" else 1}


def evaluate_record(record: Record) -> Row:
    """The row of a job: its settings with their scores."""
    job = job_from_json(record["job"])
    evaluation = evaluate(job, record["devices"])
    rows = [
        {**setting._asdict(), **scores}
        for setting, scores in zip(job.settings, evaluation["settings"], strict=True)
    ]
    shape = {"layers": job.layers, "parameters": job.parameters, "units": evaluation["units"]}
    return {"task": job.task, "network": job.network, **shape, "settings": rows}


def first_jobs(config: Config) -> dict[str, Job]:
    """The jobs of the first part by name: every cell at every setting."""
    return {
        f"{task}, {network}, layers={shape[0]}, parameters={shape[1]}": job_of(
            config, task, network, shape, settings
        )
        for task, network in product(config.task_names(), config.networks())
        for shape, settings in draws_of(config).items()
    }


def check_rows(rows: dict[str, Row], path: Path) -> None:
    """Raises InputError if a row of the ledger is not one that this program writes."""
    numbers = {*Setting._fields, "valid", "test"}
    for name, row in rows.items():
        settings = row.get("settings")
        if set(row) != FIELDS or not (
            isinstance(settings, list)
            and settings
            and all(isinstance(s, dict) and numbers <= set(s) for s in settings)
            and all(isinstance(s[k], int | float) for s in settings for k in numbers)
        ):
            raise InputError(f"the line {name!r} of {path} is damaged: take it out to do it again.")


def best_of(rows: dict[str, Row], task: str, network: str) -> tuple[Row, Row]:
    """The setting with the best validation accuracy, and the row it stands in: row, setting."""
    own = [row for row in rows.values() if (row["task"], row["network"]) == (task, network)]
    pairs = [(row, setting) for row in own for setting in row["settings"]]
    return max(pairs, key=lambda pair: pair[1]["valid"])


def second_jobs(config: Config, rows: dict[str, Row]) -> dict[str, Job]:
    """The jobs of the second part: every cell at its best setting, from new weights."""
    jobs = {}
    for task, network in product(config.task_names(), config.networks()):
        row, best = best_of(rows, task, network)
        setting = Setting(*(best[name] for name in Setting._fields))
        shape = (row["layers"], row["parameters"])
        job = job_of(config, task, network, shape, (setting,) * config.seeds)
        jobs[f"{task}, {network}"] = job._replace(seed=config.seed + 1)
    return jobs


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes results.json, table.txt and architectures.png."""
    use_cpu_devices(config.devices)
    jobs = first_jobs(config)
    for job in jobs.values():  # refuses impossible jobs before the directory is made
        prepare(job)
    expect = (
        f"{len(config.networks())} cells, {config.draws} settings, at most"
        f" {config.updates * config.epochs:,} updates each; about 30 minutes on 2 CPU cores without"
        " flags"
    )
    with open_study(NAME, config, expect=expect) as study:

        def evaluated(jobs: dict[str, Job], ledger: str) -> dict[str, Row]:
            records = {name: record_of(config, job) for name, job in jobs.items()}
            return study.evaluated(EVALUATE, records, ledger)

        rows = evaluated(jobs, "settings.jsonl")
        check_rows(rows, study.workdir / "settings.jsonl")
        repeats = evaluated(second_jobs(config, rows), "repeats.jsonl")
        check_rows(repeats, study.workdir / "repeats.jsonl")
        text, tests = report(study.workdir, repeats)
        results = {"settings": rows, "repeats": repeats, **tests}
        study.finish(results, text)
    return results
