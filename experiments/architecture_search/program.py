"""A search for better cells: graphs are changed at random, and what beats the GRU is changed again.

Source: Jozefowicz, Zaremba and Sutskever (2015), who tried ten thousand cells, those that could recall,
a thousand, at some 220 settings each, and found MUT1, MUT2 and MUT3, a little better than the GRU, and
nothing far better.

    python -m experiments.architecture_search

takes about 15 minutes on 2 CPU cores: 45 seconds a step, measured beside other work. Each step draws
one cell of the list of the 100 best, which begins as the GRU and the LSTM. In a quarter of the steps
that cell is tried at new settings. In the others it is changed at random (mutations.py), and its child
has to pass tests: it must recall 95% of a string of five letters; it must reach 90% of the GRU's
accuracy on the first task; then it is tried on the other tasks, and enters the list, ranked by the
smallest of its accuracies as shares of the GRU's. Settings are drawn from the paper's grid, but for
one, which is its parent's best.

Every step is a line of candidates.jsonl: the cell as a graph, its parent, all settings and accuracies.
A step is a function of the seed, its number and the lines before it, so that a killed search goes on
with `--resume --workdir=...`, also with more --steps; a damaged line is named, left out and computed
again. An evaluation is a function of one JSON record: `--evaluate=RECORD.json` makes one and prints its
result, and each search writes an example, record.json. With `--engine=local --at_once=8` eight steps are made at
once, all from what was known before them, on as many cores as there are; two of them may then try the same cell.

Unlike the paper: 4 settings a task instead of 20, one layer, 20,000 parameters instead of 250,000 and a
million, sums and tags only (`--tasks=arithmetic,xml,words --parameters=1000000` adds words), numbers of
at most 4 digits, at most 5,000 updates; 90% is required on the first task only, and a cell that has
failed is not tried again. Cells are ranked by validation accuracy; the table has the test accuracy.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.architecture_search.candidates import (
    BASELINE,
    SEEDS,
    Candidate,
    Record,
    Scored,
    candidates_of,
    name_of,
    ranked,
    record_of,
    salvage,
    scored_to_json,
    share,
)
from experiments.architecture_search.mutations import mutate
from experiments.architecture_search.report import report
from experiments.architectures.jobs import Job, Setting, draw_setting, job_from_json, job_to_json
from experiments.architectures.tasks import RECALL, STREAMS, WORDS, Sizes
from experiments.architectures.training import evaluate, prepare
from experiments.common import cli
from experiments.common.engines import EngineConfig, drive, engine_of, where
from experiments.common.study_run import open_study
from seqjax.cells.graph import Graph, graph_from_json, graph_to_json
from seqjax.cells.graphs import GRAPHS
from seqjax.devices.mesh import use_cpu_devices
from seqjax.errors import InputError, check_fraction, check_not_negative, check_positive
from seqjax.files.json import read_json, write_json
from seqjax.runs.ledger import Ledger
from seqjax.tasks.sums import MOST_DIGITS

NAME = "architecture_search"
VERSION = 1  # of the format of the records in candidates.jsonl
BATCH_SIZE, WINDOW, RECALL_WINDOW = 20, 35, 11
RECALL_NEEDED, SHARE_NEEDED = 0.95, 0.9  # published


@dataclasses.dataclass(frozen=True)
class Config(EngineConfig):
    steps: int = cli.option(
        20, "steps of the search; the first two evaluate the GRU and the LSTM", may_differ=True
    )
    tasks: str = cli.option(
        "arithmetic,xml", f"tasks, separated by commas: some of {', '.join((*STREAMS, WORDS))}"
    )
    at_once: int = cli.option(
        1, "steps that are made at once, from what was known before all of them, for --engine"
    )
    settings: int = cli.option(4, "settings at which a cell is tried on a task; published: 20")
    again: float = cli.option(0.25, "share of the steps that try a cell of the list again")
    parameters: int = cli.option(
        20_000, "most parameters of a network; published: 250000 and 1000000"
    )
    updates: int = cli.option(1000, "updates in an epoch, one for each window")
    epochs: int = cli.option(5, "most epochs of a training")
    recall_updates: int = cli.option(500, "updates in an epoch of the string to be recalled")
    recall_epochs: int = cli.option(8, "most epochs of a training on the string to be recalled")
    held_out: int = cli.option(40, "windows for validation, and as many for the test")
    max_digits: int = cli.option(4, "most digits of a number in arithmetic, 1 to 9; published: 8")
    data: str = cli.option("stdlib", "the text for words: stdlib, hf:NAME or a path")
    devices: int = cli.option(
        2, "most CPU cores, or other devices, that share the settings", may_differ=True
    )
    seed: int = cli.option(0, "seed of the changes, the settings and the weights")
    evaluate: str = cli.option(
        "", "a file with one job, to be evaluated in place of a search", may_differ=True
    )
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "settings",
            "parameters",
            "updates",
            "epochs",
            "recall_updates",
            "recall_epochs",
            "held_out",
            "devices",
            "at_once",
        ):
            check_positive(f"--{name}", getattr(self, name))
        if check_positive("--steps", self.steps) < len(SEEDS):
            raise InputError("--steps must be at least 2, those of the GRU and the LSTM, got 1.")
        check_positive("--max_digits", self.max_digits, MOST_DIGITS)
        check_fraction("--again", self.again)
        check_not_negative("--seed", self.seed)
        if WORDS not in self.task_names() and self.data != "stdlib":
            raise InputError(f"--data is the text for --tasks={WORDS}, got {self.data!r}.")

    def task_names(self) -> tuple[str, ...]:
        return cli.chosen("--tasks", self.tasks, (*STREAMS, WORDS))

    def sizes(self, task: str) -> Sizes:
        if task == RECALL:
            return Sizes(BATCH_SIZE, RECALL_WINDOW, self.recall_updates, self.held_out)
        return Sizes(BATCH_SIZE, WINDOW, self.updates, self.held_out)


def job_of(config: Config, graph: Graph, task: str, settings: list[Setting]) -> Job:
    return Job(
        network=graph,
        task=task,
        settings=tuple(settings),
        parameters=config.parameters,
        layers=1,
        sizes=config.sizes(task),
        max_epochs=config.recall_epochs if task == RECALL else config.epochs,
        max_digits=config.max_digits,
        data=config.data if task == WORDS else "",
        seed=config.seed,
    )


def tried(config: Config, graph: Graph, task: str, settings: list[Setting]) -> list[Scored]:
    """The accuracies of a cell at some settings."""
    scores = evaluate(job_of(config, graph, task, settings), config.devices)["settings"]
    return [
        Scored(setting, score["valid"], score["test"])
        for setting, score in zip(settings, scores, strict=True)
    ]


def propose(config: Config, step: int, records: dict[int, Record]) -> dict[str, Any]:
    """What a step is to try, as JSON values: a function of the config and of what was known before it.

    Of a cell: its graph, its parent, the settings by task, in their order, and the least accuracy on a task
    with which the next one is tried.
    """
    if step < len(SEEDS):
        return _proposal(GRAPHS[SEEDS[step]], seed_settings(config, step))
    rng = np.random.default_rng((config.seed, step))
    candidates = candidates_of(records, before=known_before(config, step))
    members = ranked(candidates)
    member = members[rng.integers(len(members))]
    if rng.random() < config.again:
        settings = {
            task: [draw_setting(rng) for _ in range(config.settings)]
            for task in config.task_names()
        }
        return _proposal(member.graph, settings) | {"again": member.number}
    known = {candidate.graph for candidate in candidates.values()}
    graph = mutate(member.graph, rng)
    while graph in known:
        graph = mutate(member.graph, rng)
    return propose_child(config, rng, member, graph, candidates[BASELINE])


def propose_child(
    config: Config,
    rng: np.random.Generator,
    parent: Candidate,
    graph: Graph,
    baseline: Candidate,
) -> dict[str, Any]:
    """A new cell, to be tried task by task until it fails one."""
    settings = {}
    for task in (RECALL, *config.task_names()):
        settings[task] = [draw_setting(rng) for _ in range(config.settings)]
        if task in parent.best:
            settings[task][0] = parent.best[task].setting
    first = config.task_names()[0]
    least = {RECALL: RECALL_NEEDED, first: SHARE_NEEDED * baseline.best[first].valid}
    return _proposal(graph, settings) | {"parent": parent.number, "least": least}


def _proposal(graph: Graph, settings: dict[str, list[Setting]]) -> dict[str, Any]:
    return {
        "graph": graph_to_json(graph),
        "settings": {task: [s._asdict() for s in drawn] for task, drawn in settings.items()},
        "again": None,  # the number of the candidate that is tried again
        "parent": None,
        "least": {},
    }


def known_before(config: Config, step: int) -> int:
    """The steps below this number are known when `step` is proposed: its batch is made at once."""
    first = len(SEEDS)
    return first + (step - first) // config.at_once * config.at_once


def carry_out(config: Config, step: int, proposal: dict[str, Any]) -> dict[str, Any]:
    """The row of a step: what came of its proposal."""
    graph = graph_from_json(proposal["graph"])
    scores: dict[str, list[Scored]] = {}
    end = "evaluated"
    for task, drawn in proposal["settings"].items():
        scores[task] = tried(config, graph, task, [Setting(**setting) for setting in drawn])
        if max(scored.valid for scored in scores[task]) < proposal["least"].get(task, 0.0):
            end = "recall" if task == RECALL else "first task"
            break
    tried_json = {task: [scored_to_json(s) for s in of_task] for task, of_task in scores.items()}
    if proposal["again"] is not None:
        return {"candidate": proposal["again"], "tried": tried_json}
    return {
        "candidate": step,
        "name": name_of(step, proposal["parent"]),
        "parent": proposal["parent"],
        "graph": proposal["graph"],
        "tried": tried_json,
        "end": end,
    }


def evaluate_record(record: dict[str, Any]) -> dict[str, Any]:
    """The row of a step, on whatever machine."""
    return carry_out(Config(**record["config"]), record["step"], record["proposal"])


def seed_settings(config: Config, step: int) -> dict[str, list[Setting]]:
    """The settings by task of a step that tries a known cell."""
    rng = np.random.default_rng((config.seed, step))
    return {
        task: [draw_setting(rng) for _ in range(config.settings)]
        for task in (RECALL, *config.task_names())
    }


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
                "experiments.architecture_search.program:evaluate_record",
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


def evaluate_one(config: Config) -> dict[str, Any]:
    """Prints the result of the job in a file."""
    result = evaluate(job_from_json(read_json(Path(config.evaluate))), config.devices)
    print(json.dumps(result))
    return result


def first_jobs(config: Config) -> list[Job]:
    """An example of every job that a search makes of a known cell."""
    return [
        job_of(config, GRAPHS[name], task, [Setting(1.0, 1.0, 5.0)])
        for task in (*config.task_names(), RECALL)
        for name in SEEDS
    ]


def run(config: Config) -> dict[str, Any]:
    """Searches; writes candidates.jsonl, results.json, table.txt and figures."""
    use_cpu_devices(config.devices)
    if config.evaluate:
        return evaluate_one(config)
    jobs = first_jobs(config)
    for job in jobs:  # refuses impossible jobs before the directory is made
        prepare(job)
    expect = f"{config.steps} steps; about 15 minutes for 20 on 2 CPU cores"
    with open_study(NAME, config, expect=expect, version=VERSION) as study:
        write_json(study.workdir / "record.json", job_to_json(jobs[0]))
        records = search(config, study.workdir)
        text, results = report(study.workdir, records)
        study.finish(results, text)
    return results
