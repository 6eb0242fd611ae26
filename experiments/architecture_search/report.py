"""The report of a search: the list, the fate of the other cells, the best as equations and drawings."""

from collections import Counter
from pathlib import Path
from typing import Any

from experiments.architecture_search.candidates import (
    BASELINE,
    ENDS,
    Candidate,
    Record,
    candidates_of,
    fitness,
    ranked,
    share,
)
from experiments.architecture_search.pictures import draw_graph, equations
from experiments.architectures.tasks import RECALL
from experiments.common.plots import COLOURS, label, level, panels
from experiments.common.tables import table

SHOWN, WRITTEN = 10, 3  # cells of the list in the table, and new cells written as equations
MARKERS = dict(zip(ENDS, "x^o", strict=True))


def report(workdir: Path, records: dict[int, Record]) -> tuple[str, dict[str, Any]]:
    """Draws search.png and best.png; returns the text, and the results as JSON values."""
    candidates = candidates_of(records)
    baseline, members = candidates[BASELINE], ranked(candidates)
    ends = Counter(c.end for c in candidates.values() if c.parent is not None)
    again = sum(record.new is None for record in records.values())
    draw_search(workdir / "search.png", candidates)
    texts = [
        list_table(members[:SHOWN], baseline),
        f"{len(records)} steps: {sum(ends.values())} new cells, of which {ends['recall']} failed to"
        f" recall, {ends['first task']} at the first task, {ends['evaluated']} entered the list;"
        f" {again} times a cell was tried again",
    ]
    children = [member for member in members if member.parent is not None]
    for member in children[:WRITTEN]:
        texts.append(f"{member.number}, {member.name}\n{equations(member.graph)}")
    if children:
        title = f"Cell {children[0].number}, {fitness(children[0], baseline):.3f} of the GRU"
        draw_graph(workdir / "best.png", children[0].graph, title)
    results = {
        "list": [as_json(member, baseline) for member in members],
        "ends": {end: ends[end] for end in ENDS},
        "again": again,
    }
    return "\n\n".join(texts), results


def as_json(member: Candidate, baseline: Candidate) -> dict[str, Any]:
    """A cell of the list as JSON values."""
    return {
        "number": member.number,
        "name": member.name,
        "fitness": fitness(member, baseline),
        "test": {task: scored.test for task, scored in member.best.items()},
        "equations": equations(member.graph).split("\n"),
    }


def list_table(members: list[Candidate], baseline: Candidate) -> str:
    """The best of the list: shares of the GRU's validation accuracy, and test accuracies."""
    tasks = [task for task in baseline.best if task != RECALL]
    head = ["cell", "number", "nodes", *(f"{task} / GRU" for task in tasks), *tasks]
    body = [
        [
            member.name,
            str(member.number),
            str(len(member.graph.nodes)),
            *(f"{share(member, baseline, task):.3f}" for task in tasks),
            *(f"{member.best[task].test:.3f}" for task in tasks),
        ]
        for member in members
    ]
    return table(head, body)


def draw_search(path: Path, candidates: dict[int, Candidate]) -> None:
    """Each new cell at its step: how well it recalls, and its accuracies as shares of the GRU's."""
    baseline = candidates[BASELINE]
    tasks = list(baseline.best)
    with panels(path, len(tasks)) as all_axes:
        for axes, task in zip(all_axes, tasks, strict=True):
            for k, end in enumerate(ENDS):
                here = [c for c in candidates.values() if c.end == end and task in c.best]
                recalls = task == RECALL
                y = [c.best[task].valid if recalls else share(c, baseline, task) for c in here]
                axes.plot(
                    [c.number for c in here],
                    y,
                    MARKERS[end],
                    color=COLOURS[k],
                    ms=5,
                    alpha=0.8,
                    label={
                        "recall": "failed to recall",
                        "first task": "failed at the first task",
                    }.get(end, "in the list"),
                )
            if task == RECALL:
                level(axes, "needed", 0.95)
            else:
                level(axes, "GRU", 1.0)
            label(
                axes,
                xlabel="step",
                ylabel="accuracy" if task == RECALL else "share of the GRU's accuracy",
                title=task,
            )
        all_axes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
