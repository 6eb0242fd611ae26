"""The LSTM and eight variants, each at its best over a random search (Greff et al., 2017).

Claim: on JSB Chorales the forget gate and the tanh of the output matter (variants NFG and NOAF are
significantly worse, as is FGR), the other gates, the peepholes and the coupled gates do not; the
learning rate explains more than two thirds of the variance, and its interaction with the size is
small. Source: K. Greff, R. K. Srivastava, J. Koutnik, B. R. Steunebrink and J. Schmidhuber, "LSTM: A
Search Space Odyssey", IEEE Trans. Neural Networks and Learning Systems 28, 2017.

    python -m experiments.lstm_variants

needs no data: it trains on chords from a Markov chain of known entropy, in 3 minutes on 2 CPU cores. The
published task, in the form of `seqjax.data.sets.piano_rolls`:

    python -m experiments.lstm_variants --task=music --data_dir=PATH --trials=200

Protocol, as published: hidden units log-uniform in [20, 200], learning rate log-uniform in [1e-6, 1e-2],
multiplied by 1 - momentum, on a loss summed over time; 1 - momentum log-uniform in [.01, 1]; Gaussian
noise of standard deviation uniform in [0, 1] added to the inputs; Nesterov's momentum, one sequence an
update, weights from N(0, .1), no clipping; a trial stops after 15 epochs without a better validation,
or 150. Each variant draws its own trials.

The comparison was fixed before any result was seen: of each variant the best tenth of its trials by
validation (never fewer than 5), their test results against vanilla's by Welch's t-test, p = .05. In
the shares of the variance a trial that ended above the independent notes counts as these do.

The trials of a variant are taken in blocks of 32, and every variant's block is trained before the next
block of any, so that at any time all variants have about as many trials. Within its block they are
sorted by size and trained side by side in chunks; a chunk is one compiled program (whose arrays have
the size of its largest trial, from which a smaller one's first weights are cut). Every trial is a line
of trials.jsonl. A killed run goes on with `--resume --workdir=...`; `--analyse_only --workdir=...`
analyses a run, finished or under way, and trains nothing. Every core trains a chunk of its own, or by
`--engine=ray` and `slurm` every core of a cluster, and a chunk that is cut off begins again; with
`--engine=here` chunks are trained one after the other, and one that is cut off goes on in its middle.
"""

import dataclasses
import math
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import cli
from experiments.common.engines import EngineConfig, drive, engine_of, where
from experiments.common.study_run import open_study, write_table
from experiments.lstm_variants import analysis, figures, tasks, training
from seqjax import CELLS
from seqjax.devices.mesh import batch_mesh, use_cpu_devices
from seqjax.errors import InputError, check_not_negative, check_positive, check_rate, shown
from seqjax.files.json import read_object
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.ledger import Ledger
from seqjax.runs.progress import Progress
from seqjax.runs.stopping import Stopped, Stopper
from seqjax.runs.workdir import check_same
from seqjax.search.engines import Record
from seqjax.search.population import Population
from seqjax.types import Array

NAME = "lstm_variants"
BLOCK = 32  # trials of each variant that are trained before the next of any


@dataclasses.dataclass(frozen=True)
class Config(EngineConfig):
    task: str = cli.option("harmony", "the task to learn", choices=tasks.TASKS)
    data_dir: str = cli.option("", "file or directory of the data; harmony needs none")
    variants: str = cli.option(
        "", "names of cells, separated by commas; empty for the nine published"
    )
    trials: int = cli.option(8, "number of trials of each variant")
    hidden_min: int = cli.option(20, "fewest hidden units of a trial")
    hidden_max: int = cli.option(200, "most hidden units of a trial")
    rate_min: float = cli.option(1e-6, "lowest learning rate")
    rate_max: float = cli.option(1e-2, "highest learning rate")
    momentum_min: float = cli.option(0.01, "lowest value of 1 - momentum; the highest is 1")
    noise_max: float = cli.option(1.0, "highest standard deviation of the noise on the inputs")
    patience: int = cli.option(
        15, "epochs without a better validation score after which a trial stops"
    )
    max_epochs: int = cli.option(30, "most epochs of a trial; published: 150")
    chunk: int = cli.option(8, "number of trials that are trained side by side")
    devices: int = cli.option(1, "number of CPU cores, or other devices, that share a chunk")
    skip: str = cli.option("", "broken lines of handwriting to leave out, separated by commas")
    seed: int = cli.option(0, "seed of the trials, weights, noise and order of the data")
    save_seconds: int = cli.option(
        60, "seconds after which the current chunk is saved again", may_differ=True
    )
    analyse_only: bool = cli.option(
        False, "train nothing, and analyse trials.jsonl in --workdir", may_differ=True
    )
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("trials", "patience", "max_epochs", "chunk", "devices", "save_seconds"):
            check_positive(f"--{name}", getattr(self, name))
        for name in ("hidden_min", "hidden_max"):
            check_positive(f"--{name}", getattr(self, name), at_most=4096)
        for name in ("rate_min", "rate_max", "momentum_min"):
            check_rate(f"--{name}", getattr(self, name))
        check_not_negative("--noise_max", self.noise_max)
        check_not_negative("--seed", self.seed)
        for low, high in (("hidden_min", "hidden_max"), ("rate_min", "rate_max")):
            a, b = getattr(self, low), getattr(self, high)
            if a > b:
                raise InputError(f"--{low} must be at most --{high}, got {a} and {b}.")
        if self.momentum_min > 1:
            raise InputError(f"--momentum_min must be at most 1, got {self.momentum_min}.")
        if (self.resume or self.analyse_only) and not self.workdir:
            raise InputError("--resume and --analyse_only need --workdir=DIRECTORY, the run.")
        if self.data_dir and self.task == "harmony":
            raise InputError(f"--task=harmony takes no --data_dir, got {self.data_dir!r}.")
        if self.skip and self.task != "handwriting":
            raise InputError(f"--skip is for --task=handwriting, got {self.skip!r}.")
        self.names()

    def names(self) -> list[str]:
        """The names of the variants' cells."""
        known = [name for name in CELLS if name in analysis.PUBLISHED]
        names = [name.strip() for name in self.variants.split(",")] if self.variants else known
        for name in names:
            if name not in known:
                raise InputError(f"unknown variant {name!r}; there are {', '.join(known)}.")
        if len(set(names)) < len(names):
            raise InputError(f"--variants names one twice: {self.variants}.")
        return names


def draw_trial(config: Config, key: Array) -> training.Trial:
    """The hyperparameters of a trial, a pure function of its key."""
    seed = int(jax.random.bits(key))
    size, rate, momentum, noise = np.random.default_rng(seed).random(4)

    def log(u: float, low: float, high: float) -> float:
        return float(low * (high / low) ** u)

    return training.Trial(
        hidden_size=round(log(size, config.hidden_min, config.hidden_max)),
        learning_rate=log(rate, config.rate_min, config.rate_max),
        momentum=1 - log(momentum, config.momentum_min, 1.0),
        noise=float(noise * config.noise_max),
    )


def chunks_of(config: Config, variant: str) -> dict[tuple[int, ...], training.Chunk]:
    """The chunks of a variant by the numbers of their trials, block after block.

    A chunk has trials of similar size, all of one block.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(variant.encode()))
    keys = jax.random.split(key, config.trials)
    trials = [draw_trial(config, jax.random.fold_in(k, 1)) for k in keys]
    cuts = []
    for first in range(0, config.trials, BLOCK):
        block = range(first, min(first + BLOCK, config.trials))
        order = sorted(block, key=lambda i: trials[i].hidden_size)
        cuts += [tuple(order[i : i + config.chunk]) for i in range(0, len(order), config.chunk)]
    return {
        numbers: training.Chunk(variant, [trials[i] for i in numbers], keys[np.array(numbers)])
        for numbers in cuts
    }


def in_order(config: Config) -> list[tuple[tuple[int, ...], training.Chunk]]:
    """All chunks with the numbers of their trials: a block of every variant before the next block."""
    work = [item for name in config.names() for item in chunks_of(config, name).items()]
    return sorted(work, key=lambda item: min(item[0]) // BLOCK)


def evaluate(record: Record) -> dict[str, Any]:
    """The rows of a chunk, a function of the config and of the numbers of its trials."""
    config = Config(**record["config"])
    chunk = chunks_of(config, record["variant"])[tuple(record["numbers"])]
    task = _task(config.task, config.data_dir, config.seed, config.skip)
    plan = training.Plan(config.seed, config.patience, config.max_epochs, mesh=None)
    population, hyper = training.begin(chunk, task, plan)
    population, seconds = training.train(chunk, task, plan, population, hyper, lambda _: None)
    rows = training.report(chunk, task, population)
    jax.clear_caches()  # no other chunk runs these programs
    return {"rows": [row | {"seconds_per_epoch": seconds} for row in rows]}


_task = lru_cache(maxsize=1)(tasks.load)  # one process computes many chunks


def search_elsewhere(config: Config, task: tasks.Task, workdir: Path) -> None:
    """As `search`, in the processes of an engine; a chunk that is cut off begins again."""
    work = in_order(config)
    with Ledger(workdir / "trials.jsonl", config.resume) as ledger:
        check_drawn_here(config, work, ledger)
        if ledger.get("task") is None:
            ledger.write("task", {"task": config.task, "unit": task.unit} | task.levels)
        own = dataclasses.asdict(dataclasses.replace(config, workdir="", resume=False))
        records, names = {}, {}
        for numbers, chunk in work:
            name = f"{chunk.variant}/{','.join(map(str, numbers))}"
            names[name] = [f"{chunk.variant}/{number}" for number in numbers]
            if any(ledger.get(trial) is None for trial in names[name]):
                records[name] = {"config": own, "variant": chunk.variant, "numbers": numbers}

        def write(name: str, row: dict[str, Any]) -> str:
            for trial, own_row in zip(names[name], row["rows"], strict=True):
                if ledger.get(trial) is None:
                    ledger.write(trial, own_row)
            return name

        drive(
            engine_of(config, workdir),
            "experiments.lstm_variants.program:evaluate",
            records,
            write=write,
            advice=f"go on with resume=True workdir={workdir}",
            before=len(work) - len(records),
        )


def search(config: Config, task: tasks.Task, workdir: Path) -> None:
    """Trains the trials that trials.jsonl lacks, chunk by chunk."""
    work = in_order(config)
    mesh = batch_mesh(config.devices) if config.devices > 1 else None
    plan = training.Plan(config.seed, config.patience, config.max_epochs, mesh)
    checkpoints = Checkpoints(workdir / "population")
    with (
        Ledger(workdir / "trials.jsonl", config.resume) as ledger,
        Stopper() as stopper,
        closing(checkpoints),
        closing(Progress(len(work))) as progress,
    ):
        check_drawn_here(config, work, ledger)
        if ledger.get("task") is None:
            ledger.write("task", {"task": config.task, "unit": task.unit} | task.levels)
        for done, (numbers, chunk) in enumerate(work, 1):
            names = [f"{chunk.variant}/{number}" for number in numbers]
            missing = [name for name in names if ledger.get(name) is None]
            if not missing:
                progress.pass_over()
                continue
            rows = train_chunk(config, task, plan, chunk, numbers, checkpoints, stopper)
            for name, row in zip(names, rows, strict=True):
                if name in missing:  # a kill while they were written leaves some of them
                    ledger.write(name, row)
            scores = [ledger.rows[name]["valid"] for name in names]
            best = min((score for score in scores if score is not None), default=math.inf)
            progress.update(done, f"{chunk.variant}, {chunk.size} units: best {best:.3f}")


def check_drawn_here(
    config: Config, work: list[tuple[tuple[int, ...], training.Chunk]], ledger: Ledger
) -> None:
    """Raises InputError if the ledger is of a search of another task, or that drew other trials."""
    wanted: dict[str, dict[str, Any]] = {"task": {"task": config.task}} | {
        f"{chunk.variant}/{number}": trial._asdict()
        for numbers, chunk in work
        for number, trial in zip(numbers, chunk.trials, strict=True)
    }
    for key in (key for key in wanted if key in ledger.rows):
        row = ledger.rows[key]
        for name, value in wanted[key].items():
            if not agrees(row.get(name), value):
                raise InputError(
                    f"{ledger.path} is of another search: {name} of {key} is {shown(row.get(name))}"
                    f" there and {value} here. Bring back this search's own file, or start another"
                    " in another directory."
                )


def agrees(there: Any, here: str | float) -> bool:
    """Whether a value of a file is the one drawn here; another processor rounds its last digit."""
    if isinstance(here, str) or not isinstance(there, int | float):
        return there == here
    return here - 1e-9 <= there <= here + 1e-9


def train_chunk(
    config: Config,
    task: tasks.Task,
    plan: training.Plan,
    chunk: training.Chunk,
    numbers: tuple[int, ...],
    checkpoints: Checkpoints,
    stopper: Stopper,
) -> list[dict[str, Any]]:
    """Trains a chunk, from its last checkpoint if the run is resumed; returns its trials' rows."""
    record = {"config": dataclasses.asdict(config), "chunk": f"{chunk.variant} {numbers}"}
    population, hyper = training.begin(chunk, task, plan)
    if config.resume:
        population = saved(config, checkpoints, record, population)
    if not int(population.step):
        checkpoints.drop_after(-1)  # they are another chunk's, whose epochs also count from 0
    after_epoch = keeper(record, checkpoints, stopper, config.save_seconds)
    population, seconds = training.train(chunk, task, plan, population, hyper, after_epoch)
    rows = training.report(chunk, task, population)
    jax.clear_caches()  # no other chunk runs these programs
    return [row | {"seconds_per_epoch": seconds} for row in rows]


def keeper(
    record: dict[str, Any], checkpoints: Checkpoints, stopper: Stopper, save_seconds: int
) -> Callable[[Population], None]:
    """The function called after every epoch, which saves the chunk now and then and at a signal."""
    last = time.monotonic()

    def after_epoch(population: Population) -> None:
        nonlocal last
        asked = stopper.requested
        if asked or time.monotonic() - last > save_seconds:
            checkpoints.save(population, record)
            last = time.monotonic()
        if asked:
            raise Stopped(asked, f"go on with --resume --workdir={checkpoints.directory.parent}")

    return after_epoch


def saved(
    config: Config, checkpoints: Checkpoints, record: dict[str, Any], population: Population
) -> Population:
    """The saved population of this chunk; `population` itself if another chunk's was saved.

    Raises:
      InputError: if it is of a run with another config.
    """
    if not checkpoints.exists():
        return population
    there = checkpoints.read_record()
    check_same(there.get("config", {}), config, checkpoints.directory)
    return checkpoints.restore(population) if there.get("chunk") == record["chunk"] else population


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes trials.jsonl, results.json, table.txt and figures."""
    if config.analyse_only:
        return analyse_only(Path(config.workdir))
    use_cpu_devices(config.devices)
    task = tasks.load(config.task, config.data_dir, config.seed, config.skip)
    with open_study(NAME, config, expect=expectation(config, task)) as study:
        (search if where(config) == "here" else search_elsewhere)(config, task, study.workdir)
        table, results = analyse(study.workdir, dataclasses.asdict(config))
        study.finish(results, table)
    return results


def expectation(config: Config, task: tasks.Task) -> str:
    """The sizes of the data and of the search, and how long it takes."""
    sizes = ", ".join(
        f"{len(split)} {name}"
        for name, split in zip(("train", "valid", "test"), task.sequences, strict=False)
    )
    return (
        f"{config.task}: sequences: {sizes}; {config.trials * len(config.names())} trials; about 3"
        " minutes on 2 CPU cores without flags, and 8 s a trial of 60 epochs on JSB Chorales"
    )


def analyse_only(workdir: Path) -> dict[str, Any]:
    """Analyses the trials of a run, finished or under way; writes table.txt and the figures."""
    saved = cli.checked(Config, read_object(workdir / "config.json"), str(workdir))
    config = Config(**saved | {"workdir": str(workdir)})
    table, results = analyse(workdir, dataclasses.asdict(config))
    write_table(workdir, table)
    return results


def analyse(workdir: Path, ranges: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The table and the results, from trials.jsonl and the ranges of the search; draws the figures."""
    task, variants = analysis.read_trials(workdir / "trials.jsonl")
    shares = analysis.variance_shares(task, variants, ranges)
    results = analysis.analyse(task, variants, shares)
    figures.draw(workdir, results, variants, shares, ranges)
    return analysis.table(results), results
