"""`experiments.architecture_search`: steps, records, and what is made of them."""

import dataclasses
import json
import re
import signal

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from experiments.architecture_search import search as searching
from experiments.architecture_search import steps
from experiments.architecture_search.candidates import (
    Candidate,
    Record,
    Scored,
    candidates_of,
    fitness,
    name_of,
    ranked,
    record_of,
    salvage,
)
from experiments.architecture_search.config import Config
from experiments.architecture_search.mutations import mutate
from experiments.architecture_search.pictures import draw_graph, equations
from experiments.architecture_search.program import run
from experiments.architecture_search.report import report
from experiments.architecture_search.search import search
from experiments.architecture_search.steps import carry_out, propose, propose_child
from experiments.architectures.jobs import Setting, job_from_json
from experiments.common import cli
from seqjax import InputError
from seqjax.cells.graph import Graph, Node, graph_cell, graph_to_json
from seqjax.cells.graphs import GRAPHS
from seqjax.runs.stopping import Stopped
from tests.support.strategies import JSON

TINY = {
    "settings": 2,
    "tasks": "arithmetic",
    "parameters": 1200,
    "updates": 2,
    "epochs": 1,
    "recall_updates": 2,
    "recall_epochs": 1,
    "held_out": 2,
    "max_digits": 1,
}
SETTING = Setting(1.0, 2.0, 5.0)


def scored(valid, setting=SETTING):
    return Scored(setting, valid, valid / 2)


def candidate(number, end="evaluated", graph=GRAPHS["GRU"], parent=0, **best):
    return Candidate(
        number, f"c{number}", parent, graph, {k: scored(v) for k, v in best.items()}, end
    )


TASKS = ("xml", "arithmetic")
ONE = {**SETTING._asdict(), "valid": 0.5, "test": 0.4}


def row(step, graph=GRAPHS["LSTM"], end="evaluated"):
    """A record as a file holds it."""
    tasks = ["memorisation", *TASKS][: {"recall": 1, "first task": 2}.get(end)]
    parent = None if step < 2 else 0
    return {
        "key": f"step {step}",
        "candidate": step,
        "name": name_of(step, parent),
        "parent": parent,
        "graph": graph_to_json(graph),
        "tried": {task: [ONE] for task in tasks},
        "end": end,
    }


def again(step, number):
    """A record of a step that tried a candidate again."""
    tried = {task: [ONE] for task in TASKS}
    return {"key": f"step {step}", "candidate": number, "tried": tried}


def test_fitness_is_the_least_share_of_the_baselines_accuracy():
    baseline = candidate(0, memorisation=0.9, xml=0.5, arithmetic=0.8)
    assert fitness(candidate(3, memorisation=0.1, xml=0.6, arithmetic=0.72), baseline) == (
        pytest.approx(0.9)
    )
    assert fitness(candidate(4, memorisation=1.0, xml=0.6), baseline) == 0  # not tried on all
    assert fitness(baseline, baseline) == 1


def test_the_list_holds_the_hundred_best_that_were_evaluated():
    found = {0: candidate(0, xml=0.5)}
    found |= {n: candidate(n, xml=0.3 + n / 1000) for n in range(1, 120)}
    found[200] = candidate(200, end="recall", xml=0.9)
    best = ranked(found)
    assert len(best) == 100
    assert best[0].number == 0
    assert [c.number for c in best[1:4]] == [119, 118, 117]


def test_what_is_tried_again_counts_if_it_is_better_and_from_then_on():
    made = record_of(row(0), TASKS)
    better, worse = ({"xml": [scored(v, Setting(0.3, 5.0, 1.0))]} for v in (0.7, 0.1))
    records = {0: made, 1: Record(1, 0, None, worse), 2: Record(2, 0, None, better)}
    assert candidates_of(records, before=2)[0].best["xml"] == scored(0.5)._replace(test=0.4)
    assert candidates_of(records)[0].best["xml"] == better["xml"][0]


@pytest.fixture
def trained(monkeypatch):
    """Instead of training: accuracies by task, and a list of what was asked for."""
    asked, accuracies = [], {}

    def tried(config, graph, task, settings):
        asked.append((task, settings, graph))
        return [scored(accuracies[task], setting) for setting in settings]

    monkeypatch.setattr(steps, "tried", tried)
    return asked, accuracies


@pytest.mark.parametrize(
    ("accuracies", "end", "tasks"),
    [
        ({"memorisation": 0.94}, "recall", ["memorisation"]),
        ({"memorisation": 0.95, "arithmetic": 0.71}, "first task", ["memorisation", "arithmetic"]),
        (
            {"memorisation": 0.95, "arithmetic": 0.73, "xml": 0.0},
            "evaluated",
            ["memorisation", "arithmetic", "xml"],
        ),
    ],
)
def test_a_child_is_tried_until_it_fails(trained, accuracies, end, tasks):
    """At 95% of the string, and at 90% of the baseline's .8 on the first task."""
    asked, given = trained
    given.update(accuracies)
    baseline = candidate(0, arithmetic=0.8, xml=0.5)
    own = Setting(2.8, 0.1, 20.0)
    parent = candidate(5)._replace(best={"arithmetic": scored(0.9, own)})
    rng = np.random.default_rng(0)
    proposal = propose_child(Config(), rng, parent, GRAPHS["MUT1"], baseline)
    found = carry_out(Config(), 9, json.loads(json.dumps(proposal)))
    assert (found["end"], [task for task, _, _ in asked]) == (end, tasks)
    assert found["parent"] == 5
    for task, settings, graph in asked:
        assert len(settings) == Config().settings
        assert (settings[0] == own) == (task == "arithmetic")  # its parent's best where it has one
        assert graph == GRAPHS["MUT1"]
    record = record_of({"key": "step 9", **json.loads(json.dumps(found))}, Config().task_names())
    assert record.new.graph == GRAPHS["MUT1"]


def next_step(config, step, records):
    return carry_out(config, step, propose(config, step, records))


def test_steps_that_are_made_at_once_know_what_was_before_them_all(trained):
    _, given = trained
    given.update(memorisation=0.5, arithmetic=0.5, xml=0.5)
    config, records = Config(at_once=4), {}
    for step in range(20):
        records[step] = record_of(
            {"key": f"step {step}", **next_step(config, step, records)}, config.task_names()
        )
    for step in range(2, 20):
        start = 2 + (step - 2) // 4 * 4
        known = {n: r for n, r in records.items() if n < start}
        assert propose(config, step, known) == propose(config, step, records)


def test_a_step_is_a_function_of_its_number_and_what_came_before(trained):
    _, given = trained
    given.update(memorisation=0.5, arithmetic=0.5, xml=0.5)
    config, records = Config(), {}
    for step in range(40):
        found = next_step(config, step, records)
        assert next_step(config, step, records) == found
        records[step] = record_of({"key": f"step {step}", **found}, config.task_names())
    assert next_step(config, 17, records) == next_step(
        config, 17, {n: r for n, r in records.items() if n < 17}
    )
    again = [step for step, record in records.items() if record.new is None]
    assert 3 < len(again) < 20  # a quarter of 38
    graphs = [record.new.graph for record in records.values() if record.new]
    assert len(set(graphs)) == len(graphs)  # none is tried as new twice


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("search") / "run"
    config = Config(**TINY, steps=6, workdir=str(workdir))
    return config, run(config)


def files_of(workdir):
    return {name: (workdir / name).read_bytes() for name in ("candidates.jsonl", "table.txt")}


@pytest.mark.long
def test_a_search_leaves_all_it_did(finished, capsys):
    config, results = finished
    workdir = cli.Path(config.workdir)
    rows = [json.loads(line) for line in (workdir / "candidates.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == [f"step {n}" for n in range(6)]
    assert [row["name"] for row in rows[:2]] == ["GRU", "LSTM"]
    assert results["list"][0]["fitness"] >= results["list"][1]["fitness"]
    assert json.loads((workdir / "config.json").read_text())["version"] == 1
    assert (workdir / "search.png").stat().st_size > 5_000
    run(Config(evaluate=str(workdir / "record.json"), devices=1))
    found = json.loads(capsys.readouterr().out)
    assert found["units"] > 3
    assert len(found["settings"]) == 1


@pytest.mark.long
def test_a_search_that_was_killed_goes_on(finished, tmp_path, capsys):
    """With a damaged line, a line cut off, and three steps less: the same in the end."""
    config, _ = finished
    whole = files_of(cli.Path(config.workdir))
    workdir = tmp_path / "run"
    again = dataclasses.replace(config, workdir=str(workdir), resume=True)
    workdir.mkdir()
    lines = whole["candidates.jsonl"].splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"linear 0"', b'"linear 7"', 1)
    (workdir / "candidates.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:50])
    config_json = (cli.Path(config.workdir) / "config.json").read_bytes()
    (workdir / "config.json").write_bytes(config_json)
    run(again)
    out = capsys.readouterr().out
    assert re.search(r"line 2 of .*candidates.jsonl is left out: node 1 .* got 'linear 7'", out)
    assert "1 damaged lines are left out" in out
    left = files_of(workdir)
    assert left["table.txt"] == whole["table.txt"]
    assert sorted(left["candidates.jsonl"].split(b"\n")) == (
        sorted(whole["candidates.jsonl"].split(b"\n"))
    )


@pytest.mark.long
def test_a_longer_search_begins_as_the_shorter_one(finished, tmp_path):
    config, _ = finished
    shorter = dataclasses.replace(config, workdir=str(tmp_path / "run"), steps=3)
    run(shorter)
    run(dataclasses.replace(shorter, steps=6, resume=True))
    assert files_of(tmp_path / "run") == files_of(cli.Path(config.workdir))


@pytest.mark.long
def test_a_search_of_another_version_is_refused(finished, tmp_path):
    config, _ = finished
    workdir = tmp_path / "run"
    workdir.mkdir()
    old = json.loads((cli.Path(config.workdir) / "config.json").read_text())
    for version in (0, 2, None):
        (workdir / "config.json").write_text(json.dumps(old | {"version": version}))
        with pytest.raises(
            InputError, match=f"records of version {version}, this program writes 1"
        ):
            run(dataclasses.replace(config, workdir=str(workdir), resume=True))


@pytest.mark.long
def test_a_signal_stops_after_the_step_in_hand(trained, tmp_path, monkeypatch):
    _, given = trained
    given.update(memorisation=0.5, arithmetic=0.5, xml=0.5)
    told = searching.told

    def stop(records, step):
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return told(records, step)

    monkeypatch.setattr(searching, "told", stop)
    with pytest.raises(Stopped, match="--resume"):
        run(Config(steps=9, workdir=str(tmp_path)))
    assert len((tmp_path / "candidates.jsonl").read_text().splitlines()) == 3


def test_the_steps_of_another_search_are_refused(trained, tmp_path):
    """The file of a search with another seed, beside the config of this one."""
    _, given = trained
    given.update(memorisation=0.5, arithmetic=0.5, xml=0.5)
    path = tmp_path / "candidates.jsonl"
    search(Config(steps=3, seed=1), tmp_path)
    others = path.read_bytes()
    with pytest.raises(InputError, match=r"candidates\.jsonl is of another search: step 0"):
        search(Config(steps=4, workdir=str(tmp_path), resume=True), tmp_path)
    assert path.read_bytes() == others
    search(Config(steps=4, seed=1, workdir=str(tmp_path), resume=True), tmp_path)
    assert path.read_bytes().startswith(others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "step x"}, "a step and its candidate are integers"),
        ({"key": "step 03"}, "a step and its candidate are integers"),
        ({"candidate": "3"}, "integers"),
        ({"candidate": 4}, "no record of a candidate"),
        ({"parent": 3}, "a candidate's parent is an earlier step, got 3"),
        ({"parent": -1}, "got -1"),
        ({"end": "won"}, "no record of a candidate"),
        ({"end": "recall"}, "a candidate is tried on memorisation, got"),
        ({"grbph": []}, "no record of a step"),
        ({"name": "child of 1"}, "no record of a candidate"),
        ({"graph": []}, "a graph is written"),
        ({"tried": []}, "a candidate is tried on arithmetic, memorisation, xml, got"),
        ({"tried": {"xmm": [ONE], "arithmetic": [ONE], "memorisation": [ONE]}}, "is tried on"),
        *(
            ({"tried": {**again(3, 0)["tried"], "memorisation": entries}}, message)
            for entries, message in [
                ([], "are a list, got"),
                ([{}], "are an object, got"),
                ([ONE | {"valid": 1.5}], r"in \[0, 1\]"),
                ([ONE | {"valid": "1"}], r"in \[0, 1\]"),
                ([ONE | {"scale": -1}], "scale must be"),
            ]
        ),
    ],
)
def test_a_record_that_is_none_is_named(change, message):
    assert record_of(row(3), TASKS).step == 3
    with pytest.raises(InputError, match=message):
        record_of(row(3) | change, TASKS)


@pytest.mark.parametrize("number", [5, 6, -1, "0"])
def test_only_an_earlier_candidate_is_tried_again(number):
    assert record_of(again(5, 4), TASKS).candidate == 4
    with pytest.raises(InputError):
        record_of(again(5, number), TASKS)


def test_the_first_steps_are_the_known_cells():
    for wrong in (again(1, 0), row(1, end="recall"), row(1) | {"name": "GRU"}):
        with pytest.raises(InputError, match="no record of a candidate"):
            record_of(wrong, TASKS)


@hypothesis.given(JSON, st.sampled_from([*row(3)]))
def test_any_json_is_a_record_or_an_input_error(text, field):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    entries = {**again(3, 0)["tried"], "memorisation": value}
    for whole in (value, row(3) | {field: value}, row(3) | {"tried": entries}):
        try:
            record_of(whole, TASKS)
        except InputError:
            continue


def test_records_of_a_stranger_are_salvaged(tmp_path):
    path = tmp_path / "candidates.jsonl"
    good, failed, unknown, bad = (
        json.dumps(value).encode() + b"\n"
        for value in (row(0), row(2, end="recall"), again(9, 5), again(4, 2))
    )
    flipped = good.replace(b"step 0", b"step \xb0")
    path.write_bytes(good + b"\0\n" + good + b"[]\n" + flipped + failed + bad + unknown + good[:30])
    records, problems = salvage(path, TASKS)
    assert [*records] == [0, 2, 9]  # (5 may stand in a line that is done again)
    numbers = [re.search(r"line (\d)", problem)[1] for problem in problems]
    assert numbers == ["2", "3", "4", "5", "7"]
    assert "stands there twice" in problems[1]
    assert "step 2 made no candidate that is tried again" in problems[4]
    assert path.read_bytes() == good + failed + unknown
    assert salvage(tmp_path / "none", TASKS) == ({}, [])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tasks": ""}, r"unknown name '' in --tasks; choose from arithmetic, xml, words"),
        ({"tasks": "arithmetic,music"}, "unknown name 'music'"),
        ({"steps": 1}, "--steps must be at least 2"),
        ({"settings": 0}, "--settings must be an integer of at least 1"),
        ({"again": 1.0}, r"--again must lie in \[0, 1\)"),
        ({"max_digits": 0}, "--max_digits"),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(InputError, match=message):
        Config(**flags)


def test_a_file_without_a_job_is_refused(tmp_path):
    path = tmp_path / "job.json"
    path.write_text("")
    with pytest.raises(InputError, match="not valid JSON"):
        run(Config(evaluate=str(path)))
    path.write_text("{}")
    with pytest.raises(InputError, match="a job has the fields"):
        run(Config(evaluate=str(path)))
    with pytest.raises(InputError, match=r"none\.json"):
        run(Config(evaluate=str(tmp_path / "none.json")))


def test_equations_of_known_cells():
    assert equations(GRAPHS["tanh"]) == "h' = tanh(W₁ x + b₁ + W₃ h + b₃)"
    assert equations(GRAPHS["MUT1"]).splitlines()[-1] == "h' = h + σ(W₂ x + b₂) ⊙ (v₂ - h)"
    assert "c' = v₂ ⊙ c + v₃ ⊙ v₄\nh' = v₁ ⊙ tanh(c')" in equations(GRAPHS["LSTM"])


def test_equations_of_odd_graphs():
    nodes = (Node("x"), Node("s0"), Node("-", (0, 1)), Node("-", (1, 2)), Node("linear 0.9", (3,)))
    assert equations(Graph(nodes, (4, 0))) == (
        "h' = W₄ (h - (x - h)) + b₄\nc' = x\nW₄ starts with 0.9 added to its diagonal"
    )
    both = Graph((Node("s0"), Node("x"), Node("*", (0, 1))), (2, 2))
    assert equations(both) == "h' = c' = h ⊙ x"


@hypothesis.given(st.integers(0, 2**32), st.sampled_from([*GRAPHS]))
def test_equations_say_what_the_graph_computes(seed, name):
    """Python reads them, with every W v + b as a function, and finds the cell's own result."""
    graph = mutate(GRAPHS[name], np.random.default_rng(seed))
    cell = graph_cell(graph, 1)
    rng = np.random.default_rng(seed)
    params = {
        f"{k}{i}": rng.normal(size=(1, 1) if k == "w" else 1) for k in "wb" for i in range(60)
    }
    state = type(cell.initial_state())(tuple(rng.normal(size=1) for _ in graph.outputs))
    x = rng.normal(size=1)
    scope = dict(zip("hcdefgijkl", (s[0] for s in state.states), strict=False)) | {
        "x": x[0],
        "tanh": np.tanh,
        "sigma": lambda v: 1 / (1 + np.exp(-v)),
        "ReLU": lambda v: max(v, 0),
    }
    scope |= {f"W{i}": params[f"w{i}"][0, 0] for i in range(60)}
    scope |= {f"b{i}": params[f"b{i}"][0] for i in range(60)}
    for line in equations(graph).splitlines():
        if "starts with" in line:
            continue
        plain = line.translate(str.maketrans("₀₁₂₃₄₅₆₇₈₉⊙'", "0123456789*_")).replace("σ", "sigma")
        plain = re.sub(r"(W\d+) ", r"\1 * ", plain)
        exec(plain, scope)
    with np.errstate(over="ignore"):
        new, _ = cell.step(params, state, x)
    for k, value in enumerate(new.states):
        np.testing.assert_allclose(scope["hcdefgijkl"[k] + "_"], value[0], rtol=2e-3, atol=1e-5)


def test_drawings(tmp_path):
    for name, graph in GRAPHS.items():
        draw_graph(tmp_path / f"{name}.png", graph, name)
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000


def test_report_counts_how_candidates_ended(tmp_path):
    ends = ["evaluated", "evaluated", "recall", "recall", "first task", "evaluated"]
    records = {n: record_of(row(n, end=end), TASKS) for n, end in enumerate(ends)}
    records[6] = Record(6, 0, None, {"xml": [scored(0.2)]})
    text, found = report(tmp_path, records)
    assert found["ends"] == {"recall": 2, "first task": 1, "evaluated": 1}
    assert found["again"] == 1
    assert "4 new cells, of which 2 failed to recall, 1 at the first task, 1 entered" in text
    assert (tmp_path / "best.png").exists()


@pytest.mark.long
def test_the_record_of_a_search_is_a_job(finished):
    config, _ = finished
    record = json.loads((cli.Path(config.workdir) / "record.json").read_text())
    assert job_from_json(record).network == GRAPHS["GRU"]
