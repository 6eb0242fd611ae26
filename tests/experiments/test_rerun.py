"""Running again from results.json."""

import dataclasses
import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import rerun
from experiments.char_lm.program import Config
from experiments.char_lm.program import run as run_char_lm
from seqjax.errors import InputError
from seqjax.runs.results import write_results

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_the_same_numbers_come_again_but_for_the_one_that_was_changed(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat.\n" * 100)
    run_char_lm(
        Config(
            data=str(text),
            hidden_size=8,
            seq_len=8,
            batch_size=4,
            steps=4,
            length=5,
            ngram_order=2,
            workdir=str(tmp_path / "a"),
        )
    )
    path = tmp_path / "a" / "results.json"
    saved = json.loads(path.read_text())
    saved["results"]["validation_loss"] *= 1 + 1e-9
    saved["made_with"]["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(saved))
    other = subprocess.run(
        [sys.executable, "-m", "experiments.rerun", str(path), f"--workdir={tmp_path / 'b'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert other.returncode == 1
    assert "validation_loss: " in other.stdout
    assert "not as then: versions.jax: '0.0.1'" in other.stdout
    assert other.stderr.endswith("error: 1 numbers differ.\n")


@pytest.mark.parametrize("name", rerun.AGAIN)
def test_the_command_of_every_program_is_known(name):
    config = importlib.import_module(f"experiments.{name}").Config()
    saved = {"experiment": name, "config": dataclasses.asdict(config)}
    line = rerun.command(saved, "results.json", Path("again"))
    assert line[1:3] == ["-m", f"experiments.{name}"]
    assert line[-1] == "--workdir=again"


def test_seconds_are_no_numbers_that_come_again():
    names = ("lstm.seconds", "minutes", "all.0.seconds", "seconds_per_epoch", "nats")
    assert [bool(rerun.TIMES.search(name)) for name in names] == [True] * 4 + [False]


def test_differences_of_nested_values():
    before = {"a": 1.0, "b": [1, 2], "c": "x", "d": None, "e": {"f": True}, "g": [1]}
    now = {"a": 1.0, "b": [1, 4], "c": "y", "d": 0.0, "e": {"f": 1}, "g": [1, 2], "h": 3}
    found = {d.name: d.relative for d in rerun.compare(before, now)}  # "h" was not written then
    inf = math.inf
    assert found == {"b.1": 0.5, "c": inf, "d": inf, "e.f": inf, "g": inf}
    assert rerun.compare(before, before) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment": None}, "must name its experiment, one of .*char_lm"),
        ({"experiment": "../../etc"}, "must name its experiment"),
        ({"experiment": "rerun"}, "must name its experiment"),
        ({"experiment": "speed"}, "measures time"),
        ({"config": 3}, '"config" in .* must be an object, got 3'),
        ({"config": {"hidden_size": "many"}}, "hidden_size in .* must be int, got 'many'"),
        ({"config": {"hidden_size": -1}}, "--hidden_size must be"),
        ({"config": {"cell": "lstn"}}, "cell in .* must be one of"),
    ],
)
def test_a_strangers_file_gives_a_sentence(change, words, tmp_path):
    good = {"experiment": "char_lm", "config": {}, "results": {}}
    with pytest.raises(InputError, match=words):
        rerun.command(good | change, "file.json", tmp_path)


def test_a_config_writes_below_the_new_directory_only(tmp_path):
    config = {"workdir": "/somewhere/else", "resume": True, "seed": 5, "tie_weights": True}
    saved = {"experiment": "char_lm", "config": config}
    argv = rerun.command(saved, "file.json", tmp_path / "new")
    assert argv[1:3] == ["-m", "experiments.char_lm"]
    assert "--seed=5" in argv
    assert "--tie_weights=true" in argv
    assert not re.search("somewhere|resume", " ".join(argv))
    assert argv[-1] == f"--workdir={tmp_path / 'new'}"


def test_results_carry_all_that_is_needed(tmp_path):
    whole = write_results(
        tmp_path, experiment="char_lm", config=Config(seed=3), results={"a": math.nan}, seconds=2.5
    )
    assert whole["config"]["seed"] == 3
    read = json.loads((tmp_path / "results.json").read_text())
    assert read["results"] == {"a": None}
    made = read["made_with"]
    assert made["versions"]["jax"]
    assert made["device"]
    assert re.fullmatch(r"[0-9a-f]{40}\+?", made["git_commit"] or "0" * 40)
