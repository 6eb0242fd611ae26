"""A step of the search: what it proposes to try, from what is known, and what came of it."""

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
    scored_to_json,
)
from experiments.architecture_search.config import Config
from experiments.architecture_search.mutations import mutate
from experiments.architectures.jobs import Job, Setting, draw_setting
from experiments.architectures.tasks import RECALL, WORDS
from experiments.architectures.training import evaluate
from seqjax.cells.graph import Graph, graph_from_json, graph_to_json
from seqjax.cells.graphs import GRAPHS

RECALL_NEEDED, SHARE_NEEDED = 0.95, 0.9  # published


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
