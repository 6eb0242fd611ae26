"""A search for better cells: graphs are changed at random, and what beats the GRU is changed again.

Source: Jozefowicz, Zaremba and Sutskever (2015), who tried ten thousand cells, those that could recall,
a thousand, at some 220 settings each, and found MUT1, MUT2 and MUT3, a little better than the GRU, and
nothing far better.

    python -m experiments.architecture_search

takes about 15 minutes on 2 CPU cores: 45 seconds a step, measured beside other work. Each step draws one of the list of the
100 best cells, which begins as the GRU and the LSTM. Once in four steps it is tried at new settings.
Else it is changed (architecture_mutations.py), and its child has to pass: it must give back 95% of a
string of five letters; it must reach 90% of the GRU's accuracy on the first task; then it is tried
on the other tasks, and enters the list by the least of its accuracies as shares of the GRU's.
Settings are drawn from the paper's grid, and one is its parent's best.

Every step is a line of candidates.jsonl: the cell as a graph, its parent, all settings and accuracies. A step
is a function of the seed, its number and the lines before it, so that a killed search goes on with
`--resume --workdir=...`, also with more --steps; a damaged line is left out, named and done again. An
evaluation is a function of one JSON record: `--evaluate=RECORD.json` does one and prints its result, and
each search leaves an example, record.json.

Unlike the paper: 4 settings a task instead of 20, one layer, 20,000 parameters instead of 250,000 and a
million, sums and tags only (`--tasks=arithmetic,xml,words --parameters=1000000` adds words), numbers of
at most 4 digits, 5,000 updates at most; 90% is asked on the first task alone, and what has failed is not
tried again. Validation accuracy ranks; the test accuracy of what was best is in the table.
"""

import dataclasses
import json
import time
from contextlib import closing
from functools import partial
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
from seqjax.cells.graph import Graph, graph_to_json
from seqjax.cells.graphs import GRAPHS
from seqjax.devices.mesh import use_cpu_devices
from seqjax.errors import InputError, check_fraction, check_not_negative, check_positive
from seqjax.files.json import read_json, read_object, write_atomically, write_json
from seqjax.runs.ledger import Ledger
from seqjax.runs.progress import Progress
from seqjax.runs.results import write_results
from seqjax.runs.stopping import Stopper
from seqjax.runs.workdir import check_same, open_workdir
from seqjax.tasks.sums import MOST_DIGITS

NAME = "architecture_search"
VERSION = 1  # of the records; another one may mean another thing by them
BATCH_SIZE, WINDOW, RECALL_WINDOW = 20, 35, 11
RECALL_NEEDED, SHARE_NEEDED = 0.95, 0.9  # published


@dataclasses.dataclass(frozen=True)
class Config:
    """What a person may choose."""

    steps: int = cli.option(
        20, "of the search, the two of the GRU and the LSTM among them", may_differ=True
    )
    tasks: str = cli.option("arithmetic,xml", f"out of {', '.join((*STREAMS, WORDS))}; with commas")
    settings: int = cli.option(4, "that a cell is tried at on a task; published: 20")
    again: float = cli.option(0.25, "share of the steps that try a cell of the list again")
    parameters: int = cli.option(20_000, "of every network; published: 250000 and 1000000")
    updates: int = cli.option(1000, "of an epoch, a window each")
    epochs: int = cli.option(5, "at most, on a task")
    recall_updates: int = cli.option(500, "of an epoch of the string to be recalled")
    recall_epochs: int = cli.option(8, "at most, of the string to be recalled")
    held_out: int = cli.option(40, "windows of validation, and of the test")
    max_digits: int = cli.option(4, "of the numbers of arithmetic, 1 to 9; published: 8")
    data: str = cli.option("stdlib", "the text for words: stdlib, hf:NAME or a path")
    devices: int = cli.option(
        2, "CPU cores, or other devices, that share the settings, at most", may_differ=True
    )
    seed: int = cli.option(0, "of changes, settings and weights")
    evaluate: str = cli.option(
        "", "a file with one job; does that alone, and prints its result", may_differ=True
    )
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in (
            "settings",
            "parameters",
            "updates",
            "epochs",
            "recall_updates",
            "recall_epochs",
            "held_out",
            "devices",
        ):
            check_positive(f"--{name}", getattr(self, name))
        if check_positive("--steps", self.steps) < len(SEEDS):
            raise InputError("--steps must be at least 2, those of the GRU and the LSTM, got 1.")
        check_positive("--max_digits", self.max_digits, MOST_DIGITS)
        check_fraction("--again", self.again)
        check_not_negative("--seed", self.seed)
        if self.resume and not self.workdir:
            raise InputError("--resume needs the --workdir of an earlier search, got ''.")
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
    found = evaluate(job_of(config, graph, task, settings), config.devices)["settings"]
    return [
        Scored(setting, one["valid"], one["test"])
        for setting, one in zip(settings, found, strict=True)
    ]


def next_step(config: Config, step: int, records: dict[int, Record]) -> dict[str, Any]:
    """The row of a step: a function of the config and of the records before it."""
    rng = np.random.default_rng((config.seed, step))
    candidates = candidates_of(records, before=step)
    if step < len(SEEDS):
        return seed_step(config, step, rng)
    members = ranked(candidates)
    member = members[rng.integers(len(members))]
    if rng.random() < config.again:
        settings = [draw_setting(rng) for _ in range(config.settings)]
        found = {task: tried(config, member.graph, task, settings) for task in config.task_names()}
        return {"candidate": member.number, "tried": as_json(found)}
    known = {candidate.graph for candidate in candidates.values()}
    graph = mutate(member.graph, rng)
    while graph in known:
        graph = mutate(member.graph, rng)
    return child_step(config, step, rng, member, graph, candidates[BASELINE])


def seed_step(config: Config, step: int, rng: np.random.Generator) -> dict[str, Any]:
    """A known cell is tried on everything."""
    name = SEEDS[step]
    found = {}
    for task in (RECALL, *config.task_names()):
        settings = [draw_setting(rng) for _ in range(config.settings)]
        found[task] = tried(config, GRAPHS[name], task, settings)
    return made(step, None, GRAPHS[name], found, "evaluated")


def child_step(
    config: Config,
    step: int,
    rng: np.random.Generator,
    parent: Candidate,
    graph: Graph,
    baseline: Candidate,
) -> dict[str, Any]:
    """A new cell is tried until it fails."""
    found: dict[str, list[Scored]] = {}
    row = partial(made, step, parent.number, graph, found)
    for task in (RECALL, *config.task_names()):
        settings = [draw_setting(rng) for _ in range(config.settings)]
        settings[0] = parent.best[task].setting if task in parent.best else settings[0]
        found[task] = tried(config, graph, task, settings)
        best = max(scored.valid for scored in found[task])
        if task == RECALL and best < RECALL_NEEDED:
            return row("recall")
        first = task == config.task_names()[0]
        if first and best < SHARE_NEEDED * baseline.best[task].valid:
            return row("first task")
    return row("evaluated")


def made(
    step: int,
    parent: int | None,
    graph: Graph,
    found: dict[str, list[Scored]],
    end: str,
) -> dict[str, Any]:
    """The row of a step that made a candidate."""
    return {
        "candidate": step,
        "name": name_of(step, parent),
        "parent": parent,
        "graph": graph_to_json(graph),
        "tried": as_json(found),
        "end": end,
    }


def as_json(found: dict[str, list[Scored]]) -> dict[str, list[dict[str, float]]]:
    return {task: [scored_to_json(scored) for scored in some] for task, some in found.items()}


def search(config: Config, workdir: Path) -> dict[int, Record]:
    """Does the steps that candidates.jsonl lacks; returns the records of all."""
    path = workdir / "candidates.jsonl"
    records, problems = salvage(path, config.task_names()) if config.resume else ({}, [])
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} damaged lines are left out, and their steps done again", flush=True)
    with (
        Ledger(path, config.resume) as ledger,
        Stopper() as stopper,
        closing(Progress(config.steps)) as progress,
    ):
        for step in range(config.steps):
            if step in records:
                progress.pass_over()
                continue
            stopper.check(f"go on with --resume --workdir={workdir}")
            key = f"step {step}"
            row = ledger.write(key, next_step(config, step, records))
            records[step] = record_of({"key": key, **row}, config.task_names())
            progress.update(step + 1, told(records, step))
    return records


def told(records: dict[int, Record], step: int) -> str:
    """A step in a few words."""
    record = records[step]
    if record.made is None:
        return f"{record.candidate} tried again"
    candidates = candidates_of(records)
    if record.made.end != "evaluated":
        return f"{record.made.name}: {record.made.end}"
    shares = [
        share(candidates[step], candidates[BASELINE], task)
        for task in record.made.best
        if task != RECALL
    ]
    return f"{record.made.name}: {' '.join(f'{s:.3f}' for s in shares)} of the GRU"


def evaluate_one(config: Config) -> dict[str, Any]:
    """Prints the result of the job in a file."""
    result = evaluate(job_from_json(read_json(Path(config.evaluate))), config.devices)
    print(json.dumps(result))
    return result


def check_version(workdir: Path) -> None:
    """Raises InputError if the search in the directory was made by another version."""
    found = read_object(workdir / "config.json").get("version")
    if found != VERSION:
        raise InputError(
            f"the search in {workdir} has records of version {found}, this program writes {VERSION}:"
            " start another in another --workdir."
        )


def run(config: Config) -> dict[str, Any]:
    """Searches; writes candidates.jsonl, results.json, table.txt and figures."""
    begin = time.monotonic()
    use_cpu_devices(config.devices)
    if config.evaluate:
        return evaluate_one(config)
    setting = Setting(1.0, 1.0, 5.0)
    jobs = [
        job_of(config, GRAPHS[name], task, [setting])
        for task in (*config.task_names(), RECALL)
        for name in SEEDS
    ]
    for job in jobs:  # what cannot be is said before anything is made
        prepare(job)
    with open_workdir(config.workdir, name=NAME, resume=config.resume) as workdir:
        if config.resume:
            check_version(workdir)
            check_same(read_object(workdir / "config.json"), config, workdir)
        write_json(workdir / "config.json", dataclasses.asdict(config) | {"version": VERSION})
        write_json(workdir / "record.json", job_to_json(jobs[0]))
        print(
            f"{config.steps} steps; about 15 minutes for 20 on 2 CPU cores; writing to {workdir}",
            flush=True,
        )
        records = search(config, workdir)
        text, found = report(workdir, records)
        print(text)
        write_atomically(workdir / "table.txt", text + "\n")
        seconds = time.monotonic() - begin
        write_results(workdir, experiment=NAME, config=config, results=found, seconds=seconds)
    return found
