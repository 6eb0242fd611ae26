"""`experiments.architectures`: from draws to the table beside the published one."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.architectures import program as architectures
from experiments.architectures import report as architectures_report
from experiments.architectures.program import Config, draws_of, first_jobs, second_jobs
from experiments.common.jozefowicz import TABLE_1, TABLE_1_TASKS
from seqjax import InputError

TINY = {
    "tasks": "arithmetic",
    "cells": "GRU,LSTM-f",
    "draws": 2,
    "layers": "1",
    "parameters": "900",
    "updates": 3,
    "epochs": 2,
    "held_out": 2,
    "seeds": 2,
    "max_digits": 1,
}


def test_all_cells_get_the_same_settings():
    config = Config(draws=7, layers="1,2,3")
    drawn = draws_of(config)
    assert sum(map(len, drawn.values())) == 7
    assert {layers for layers, _ in drawn} <= {1, 2, 3}
    names = [*first_jobs(config)]
    assert len(names) == 2 * 10 * len(drawn)
    assert draws_of(config) == drawn != draws_of(dataclasses.replace(config, seed=1))


def test_the_best_by_validation_is_trained_again():
    """Not by test: that is for the report alone."""

    def row(network, valid, test, scale):
        setting = {"scale": scale, "rate": 1.0, "max_norm": 5.0, "valid": valid, "test": test}
        shape = {"layers": 1, "parameters": 900, "units": 3}
        return {"task": "xml", "network": network, **shape, "settings": [setting]}

    rows = {
        "a": row("GRU", 0.5, 0.9, 0.3),
        "b": row("GRU", 0.6, 0.1, 0.7),
        "c": row("tanh", 1, 1, 1),
    }
    _, best = architectures.best_of(rows, "xml", "GRU")
    assert best["scale"] == 0.7
    jobs = second_jobs(Config(tasks="xml", cells="GRU"), rows)
    assert [*jobs] == ["xml, GRU"]


def test_report_against_scipy(tmp_path):
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(0.5, 0.1, 4) for name in TABLE_1}
    repeats = {
        f"{task}, {name}": {
            "task": task,
            "network": name,
            "layers": 1,
            "units": 9,
            "settings": [{"rate": 1.0, "test": float(s)} for s in values],
        }
        for task in TABLE_1_TASKS
        for name, values in scores.items()
    }
    text, found = architectures_report.report(tmp_path, repeats)
    a, b = scores["LSTM-b"], scores["LSTM"]
    claim = found["claims"]["xml"]["LSTM-b less LSTM"]
    assert claim["p"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert claim["difference"] == pytest.approx(a.mean() - b.mean())
    assert claim["low"] < claim["difference"] < claim["high"]
    assert claim["published"] == pytest.approx(0.444 - 0.425)
    half = stats.t.interval(0.95, 3, a.mean(), stats.sem(a))[1] - a.mean()
    assert found["accuracies"]["words"]["LSTM-b"]["half_width"] == pytest.approx(half)
    assert "0.0895" in text
    assert (tmp_path / "architectures.png").stat().st_size > 10_000


def test_networks_that_have_all_learnt_nothing_do_not_differ():
    same = {"LSTM": np.array([0.3, 0.3]), "LSTM-f": np.array([0.3, 0.3])}
    assert architectures_report.claim("xml", same, "LSTM", "LSTM-f")["p"] == 1


@pytest.mark.long
def test_a_run_and_its_resumption(tmp_path, capsys):
    """Without its last two lines it goes on and ends with the same bytes."""
    config = Config(**TINY, workdir=str(tmp_path / "run"))
    results = architectures.run(config)
    assert {*results["accuracies"]["arithmetic"]} == {"GRU", "LSTM-f"}
    assert re.search(r"GRU +0\.\d{3} ± 0\.\d{3} +0\.896", capsys.readouterr().out)
    repeats = tmp_path / "run" / "repeats.jsonl"
    whole, table = repeats.read_bytes(), (tmp_path / "run" / "table.txt").read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert all(len(row["settings"]) == 2 and 3 < row["units"] < 30 for row in rows)
    repeats.write_bytes(whole[: whole.index(b"\n") + 9])
    architectures.run(dataclasses.replace(config, resume=True))
    assert repeats.read_bytes() == whole
    assert (tmp_path / "run" / "table.txt").read_bytes() == table


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cells": "LSTM,RNN"}, r"unknown name 'RNN' in --cells; choose from tanh, LSTM,"),
        ({"cells": ""}, r"unknown name '' in --cells"),
        ({"tasks": "sums"}, r"unknown name 'sums' in --tasks; choose from arithmetic, xml, words"),
        (
            {"layers": ""},
            r"--layers takes whole numbers of at least 1, separated by commas, got ''",
        ),
        ({"layers": "0"}, "got '0'"),
        ({"parameters": "1e6"}, "--parameters takes whole numbers"),
        ({"max_digits": 10}, "--max_digits must be at most 9"),
        ({"draws": 0}, "--draws must be an integer of at least 1"),
        ({"seeds": 1}, "--seeds must be at least 2"),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(InputError, match=message):
        Config(**flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tasks": "words", "data": "/no/such/text"}, "/no/such/text"),
        ({"parameters": "10"}, "one unit a layer, .* more than the 10 that are allowed"),
    ],
)
def test_what_cannot_be_leaves_nothing(tmp_path, flags, message):
    config = Config(**flags, workdir=str(tmp_path / "run"))
    with pytest.raises(InputError, match=message):
        architectures.run(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [None, [], [{}], [{"valid": "1"}]])
def test_a_damaged_row_is_named(settings):
    row = {"task": "xml", "network": "GRU", "layers": 1, "parameters": 9, "units": 3}
    with pytest.raises(InputError, match=r"the line 'xml, GRU' of rows.jsonl is damaged"):
        architectures.check_rows({"xml, GRU": row | {"settings": settings}}, Path("rows.jsonl"))
