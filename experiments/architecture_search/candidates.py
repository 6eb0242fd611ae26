"""The state of a search, which follows from its records alone: one record for each step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.architectures.jobs import Setting
from experiments.architectures.tasks import RECALL
from seqjax.cells.graph import Graph, graph_from_json
from seqjax.errors import InputError, check_rate, shown
from seqjax.files.json import LARGEST, parse_json, write_atomically
from seqjax.files.text import read_bytes

LIST_SIZE = 100  # published
SEEDS = ("GRU", "LSTM")  # steps 0 and 1
ENDS = ("recall", "first task", "evaluated")  # how a candidate ended
BASELINE = 0  # the step that evaluates the GRU
AGAIN = {"key", "candidate", "tried"}  # the fields of a record that tries a candidate again,
MADE = AGAIN | {"name", "parent", "graph", "end"}  # and of one that makes a candidate


class Scored(NamedTuple):
    """A setting and the accuracies of the network that was trained at it."""

    setting: Setting
    valid: float
    test: float


class Candidate(NamedTuple):
    number: int  # the step that made it
    name: str  # of a known cell, or "child of N"
    parent: int | None
    graph: Graph
    best: Mapping[str, Scored]  # by task, the best of all settings that were tried
    end: str


class Record(NamedTuple):
    """A step of the search, which made a candidate or tried one again."""

    step: int
    candidate: int
    new: Candidate | None  # the candidate it made; None if it tried one again
    tried: Mapping[str, list[Scored]]


def record_of(row: Any, tasks: Sequence[str]) -> Record:
    """Reads a record from a row of candidates.jsonl.

    Args:
      row: JSON values.
      tasks: the tasks of the search, without the string that is recalled.

    Raises:
      InputError: if the row is no record.
    """
    if not isinstance(row, dict) or set(row) not in (MADE, AGAIN):
        raise InputError(f"it is no record of a step: {shown(row)}.")
    key, number, tried = row["key"], row["candidate"], row["tried"]
    step = int(key[5:]) if isinstance(key, str) and key[5:].isdecimal() and len(key) < 15 else -1
    if key != f"step {step}" or type(number) is not int:
        raise InputError(f"a step and its candidate are integers, got {shown(row)}.")
    end = row.get("end", ENDS[-1])
    if end not in ENDS or (step < len(SEEDS) and (set(row) == AGAIN or end != ENDS[-1])):
        raise InputError(f"it is no record of a candidate: {shown(row)}.")
    ended = {"recall": [RECALL], "first task": [RECALL, tasks[0]]}.get(end, [RECALL, *tasks])
    wanted = set(ended) if "graph" in row else {*tasks}
    if not isinstance(tried, dict) or set(tried) != wanted:
        raise InputError(
            f"a candidate is tried on {', '.join(sorted(wanted))}, got {shown(tried)}."
        )
    scores = {task: _all_scored(entries) for task, entries in tried.items()}
    if "graph" not in row:
        if not 0 <= number < step:
            raise InputError(f"an earlier candidate is tried again, got {number} at step {step}.")
        return Record(step, number, None, scores)
    name, parent = row["name"], row["parent"]
    if step >= len(SEEDS) and (type(parent) is not int or not 0 <= parent < step):
        raise InputError(f"a candidate's parent is an earlier step, got {shown(parent)}.")
    if number != step or name != name_of(step, parent):
        raise InputError(f"it is no record of a candidate: {shown(row)}.")
    best = {task: max(of_task, key=lambda s: s.valid) for task, of_task in scores.items()}
    candidate = Candidate(step, name, parent, graph_from_json(row["graph"]), best, end)
    return Record(step, number, candidate, scores)


def name_of(step: int, parent: int | None) -> str:
    """The name of the candidate that a step makes."""
    return SEEDS[step] if step < len(SEEDS) else f"child of {parent}"


def _all_scored(entries: Any) -> list[Scored]:
    if not isinstance(entries, list) or not entries:
        raise InputError(f"settings and accuracies are a list, got {shown(entries)}.")
    return [_scored(entry) for entry in entries]


def _scored(entry: Any) -> Scored:
    if not isinstance(entry, dict) or set(entry) != {*Setting._fields, "valid", "test"}:
        raise InputError(f"a setting and its accuracies are an object, got {shown(entry)}.")
    setting = Setting(*(float(check_rate(name, entry[name])) for name in Setting._fields))
    return Scored(setting, _accuracy(entry["valid"]), _accuracy(entry["test"]))


def _accuracy(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise InputError(f"an accuracy lies in [0, 1], got {shown(value)}.")
    return float(value)


def scored_to_json(scored: Scored) -> dict[str, float]:
    return {**scored.setting._asdict(), "valid": scored.valid, "test": scored.test}


def salvage(path: Path, tasks: Sequence[str]) -> tuple[dict[int, Record], list[str]]:
    """Reads the records of a search and removes damaged lines from the file.

    A last line that was cut off is removed silently. Damage that leaves a valid record, such as a
    changed digit of an accuracy, is not noticed.

    Returns:
      The records by step, and a sentence about each damaged line.

    Raises:
      InputError: if the file exists but cannot be read.
    """
    if not path.exists():
        return {}, []
    records: dict[int, Record] = {}
    good, problems = [], []
    text = read_bytes(path, LARGEST).decode("utf-8", errors="replace")  # of a damaged line alone
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            record = record_of(parse_json(line, "it"), tasks)
            if record.step in records:
                raise InputError(f"step {record.step} stands there twice.")
            tried = records.get(record.candidate)
            if tried is not None and (tried.new is None or tried.new.end != "evaluated"):
                raise InputError(f"step {record.candidate} made no candidate that is tried again.")
        except InputError as error:
            problems.append(f"line {number} of {path} is left out: {error}")
            continue
        records[record.step] = record
        good.append(line)
    write_atomically(path, "".join(line + "\n" for line in good))
    return dict(sorted(records.items())), problems


def candidates_of(records: Mapping[int, Record], before: int | None = None) -> dict[int, Candidate]:
    """All candidates by number with their best scores, as they were before the step `before`."""
    candidates: dict[int, Candidate] = {}
    for step in sorted(records):
        record = records[step]
        if before is not None and step >= before:
            break
        if record.new is not None:
            candidates[step] = record.new
        elif record.candidate in candidates:  # not there if its own record was damaged
            old = candidates[record.candidate]
            best = dict(old.best)
            for task, tried in record.tried.items():
                best[task] = max([*tried, best[task]], key=lambda s: s.valid)
            candidates[record.candidate] = old._replace(best=best)
    return candidates


def fitness(candidate: Candidate, baseline: Candidate) -> float:
    """The smallest share of the baseline's accuracy over the tasks; 0 if a task is missing."""
    tasks = [task for task in baseline.best if task != RECALL]
    return min(share(candidate, baseline, task) for task in tasks)


def share(candidate: Candidate, baseline: Candidate, task: str) -> float:
    """A candidate's best validation accuracy on a task as a share of the baseline's; 0 if none."""
    if task not in candidate.best or not baseline.best[task].valid:
        return 0.0
    return candidate.best[task].valid / baseline.best[task].valid


def ranked(candidates: Mapping[int, Candidate]) -> list[Candidate]:
    """The list of the search: at most LIST_SIZE evaluated candidates, the best first."""
    baseline = candidates[BASELINE]
    evaluated = [c for c in candidates.values() if c.end == "evaluated"]
    return sorted(evaluated, key=lambda c: (-fitness(c, baseline), c.number))[:LIST_SIZE]
