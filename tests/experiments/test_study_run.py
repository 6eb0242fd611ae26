"""What surrounds a study: its config, its ledgers, its results, and what it refuses."""

import dataclasses
import json

import jax
import pytest

from experiments.common import cli
from experiments.common.study_run import open_study
from seqjax import InputError


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = cli.option(3, "the size of the numbers")
    devices: int = cli.option(1, "how many devices share them", may_differ=True)
    seed: int = cli.option(0, "the seed of the numbers")
    workdir: str = cli.workdir_option("x")
    resume: bool = cli.resume_option()


def study(config, calls, version=None, names="ab"):
    def compute(key):
        calls.append(int(jax.random.randint(key, (), 0, 2**31 - 1)))
        return {"drawn": calls[-1]}

    with open_study("x", config, expect="a moment", version=version) as run:
        rows = run.rows(dict.fromkeys(names, compute), "units.jsonl")
        run.finish({"rows": rows}, "one\ntwo")
    return rows


def test_a_study_writes_its_files_and_resumes_without_work(tmp_path, capsys):
    config, calls = Config(workdir=str(tmp_path / "run")), []
    rows = study(config, calls)
    assert len(calls) == 2
    assert calls[0] != calls[1]
    printed = capsys.readouterr().out
    assert printed.startswith(f"a moment; writing to {tmp_path / 'run'}\n")
    assert "one\ntwo\n" in printed
    assert (tmp_path / "run" / "table.txt").read_text() == "one\ntwo\n"
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == dataclasses.asdict(config)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["experiment"], results["results"]) == ("x", {"rows": rows})
    assert results["seconds"] > 0

    ledger = (tmp_path / "run" / "units.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "units.jsonl").write_text(ledger[0])  # as if killed after the first unit
    again = []
    assert study(dataclasses.replace(config, resume=True, devices=2), again) == rows
    assert again == calls[1:]


def test_a_study_refuses_what_it_cannot_go_on_with(tmp_path):
    config = Config(workdir=str(tmp_path / "run"))
    study(config, [], version=1)
    resumed = dataclasses.replace(config, resume=True)
    for other, version, message in (
        (config, 1, "holds a run already"),
        (dataclasses.replace(resumed, size=4), 1, "size=3, got size=4"),
        (resumed, 2, "records of version 1, this program writes 2"),
        (resumed, None, "records of version 1, this program writes None"),
        (Config(resume=True), None, "resume=True needs the workdir= of an earlier run"),
    ):
        before = (tmp_path / "run" / "config.json").read_text()
        with pytest.raises(InputError, match=message):
            study(other, [], version)
        assert (tmp_path / "run" / "config.json").read_text() == before
    study(resumed, [], version=1)


def test_a_ledger_of_another_config_is_refused(tmp_path):
    """Copied into the directory by somebody: its numbers are not this study's."""
    for seed in (0, 1):
        study(Config(seed=seed, workdir=str(tmp_path / f"run{seed}")), [])
    (tmp_path / "run1" / "units.jsonl").replace(tmp_path / "run0" / "units.jsonl")
    with pytest.raises(InputError, match="is of another study, or of one with another config"):
        study(Config(workdir=str(tmp_path / "run0"), resume=True), [])


def test_a_unit_keeps_its_row_wherever_it_stands(tmp_path):
    rows = [
        study(Config(workdir=str(tmp_path / names)), [], names=names) for names in ("ab", "ba", "b")
    ]
    assert rows[0] == rows[1]
    assert rows[2]["b"] == rows[0]["b"]
