"""The search: chunk after chunk in this process, or each in a process of an engine; a line for every trial."""

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax

from experiments.common.engines import drive, engine_of
from experiments.lstm_variants import tasks, training
from experiments.lstm_variants.config import Config
from experiments.lstm_variants.trials import check_drawn_here, chunks_of, in_order
from seqjax.devices.mesh import batch_mesh
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.ledger import Ledger
from seqjax.runs.progress import Progress
from seqjax.runs.stopping import Stopped, Stopper
from seqjax.runs.workdir import check_same
from seqjax.search.engines import Record
from seqjax.search.population import Population


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
            "experiments.lstm_variants.search:evaluate",
            records,
            write=write,
            advice=f"go on with resume=True workdir={workdir}",
            before=len(work) - len(records),
        )


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
