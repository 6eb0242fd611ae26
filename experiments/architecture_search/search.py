"""The search: step after step, or several at once in the processes of an engine; a line for each."""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.architecture_search.candidates import (
    BASELINE,
    SEEDS,
    Record,
    candidates_of,
    record_of,
    salvage,
    share,
)
from experiments.architecture_search.config import Config
from experiments.architecture_search.steps import propose, seed_settings
from experiments.architectures.tasks import RECALL
from experiments.common.engines import drive, engine_of, where
from seqjax.errors import InputError
from seqjax.runs.ledger import Ledger


def search(config: Config, workdir: Path) -> dict[int, Record]:
    """Makes the steps that candidates.jsonl lacks; returns the records of all steps."""
    path = workdir / "candidates.jsonl"
    records, problems = salvage(path, config.task_names()) if config.resume else ({}, [])
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} damaged lines are left out; their steps are made again", flush=True)
    check_drawn_here(config, records, path)
    own = dataclasses.asdict(dataclasses.replace(config, workdir="", resume=False))
    if where(config) != "here":
        own["devices"] = 1  # a process has a core of its own
    with Ledger(path, config.resume) as ledger:

        def write(key: str, row: dict[str, Any]) -> str:
            record = record_of({"key": key, **ledger.write(key, row)}, config.task_names())
            records[record.step] = record
            return told(records, record.step)

        for batch in batches(config):
            missing = [step for step in batch if step not in records]
            asked = {
                f"step {step}": {
                    "config": own,
                    "step": step,
                    "proposal": propose(config, step, records),
                }
                for step in missing
            }
            drive(
                engine_of(config, workdir),
                "experiments.architecture_search.steps:evaluate_record",
                asked,
                write=write,
                advice=f"go on with resume=True workdir={workdir}",
                before=min(batch.stop, config.steps) - len(missing),
                total=config.steps,
            )
    return dict(sorted(records.items()))


def batches(config: Config) -> list[range]:
    """The steps of the search, those that are made at once in one range."""
    first = len(SEEDS)
    starts = range(first, config.steps, config.at_once)
    return [range(first), *(range(s, min(s + config.at_once, config.steps)) for s in starts)]


def told(records: dict[int, Record], step: int) -> str:
    """What a step did, in a few words."""
    record = records[step]
    if record.new is None:
        return f"{record.candidate} tried again"
    candidates = candidates_of(records)
    if record.new.end != "evaluated" or BASELINE not in candidates:
        return f"{record.new.name}: {record.new.end}"
    shares = [
        share(candidates[step], candidates[BASELINE], task)
        for task in record.new.best
        if task != RECALL
    ]
    return f"{record.new.name}: {' '.join(f'{s:.3f}' for s in shares)} of the GRU"


def check_drawn_here(config: Config, records: dict[int, Record], path: Path) -> None:
    """Raises InputError if the records are of a search that drew other settings, by another seed."""
    for step in sorted(records.keys() & set(range(len(SEEDS)))):
        for task, settings in seed_settings(config, step).items():
            there = [scored.setting for scored in records[step].tried[task]]
            if there != settings:
                raise InputError(
                    f"{path} is of another search: step {step} tried {SEEDS[step]} on {task} at"
                    f" settings that seed={config.seed} does not draw. Bring back this search's"
                    " own file, or start another in another directory."
                )
