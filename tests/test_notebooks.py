"""The notebooks run, on runs made here that are small enough for every test run.

They run as the scripts they are, in this process, where every warning is an error; with `--long` one
also goes through Jupytext and a real kernel.
"""

import dataclasses
import json
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import jupytext
import numpy as np
import pytest
from nbclient import NotebookClient

from experiments import char_lm
from experiments.char_lm.network import build
from experiments.char_lm.text import load_data
from experiments.forget_bias import program as forget_bias
from experiments.forget_bias.memory import retained
from experiments.latch import program as latch
from experiments.lstm_variants.analysis import LETTERS
from experiments.lstm_variants.config import Config
from experiments.lstm_variants.trials import draw_trial
from experiments.vanishing_gradient import (
    program as vanishing_gradient,
)
from experiments.vanishing_gradient import (
    theory as vanishing_gradient_theory,
)
from experiments.vanishing_gradient import (
    training as vanishing_gradient_training,
)
from seqjax.files.json import write_json
from seqjax.runs.checkpoint import Checkpoints
from tests.support.randomness import randomise

pytestmark = pytest.mark.whole

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.py"))


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs a notebook as a script, its figures below tmp_path; returns its names."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def execute(name, **runs):
        for variable, path in runs.items():
            monkeypatch.setenv(variable, str(path))
        return runpy.run_path(str(NOTEBOOKS / f"{name}.py"))

    return execute


def figures(names):
    return {path.stem for path in names["OUT"].glob("*.png") if path.stat().st_size > 5_000}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_is_a_notebook_of_text_and_code_without_outputs(path):
    notebook = jupytext.read(path)
    kinds = {cell.cell_type for cell in notebook.cells}
    assert kinds == {"markdown", "code"}
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.cells[0].source.startswith("# ")  # the title
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compile(cell.source, path.name, "exec")


@pytest.mark.long
def test_cells_and_unroll(execute):
    assert "xs" in execute("cells_and_unroll")


@pytest.mark.long
def test_cells_and_unroll_in_a_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = jupytext.read(NOTEBOOKS / "cells_and_unroll.py")
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert all(out.output_type == "stream" and out.name == "stdout" for out in outputs)
    said = "".join(out.text for out in outputs)
    assert "NaN in the padding changes the outputs by 0.0" in said
    assert said.count("deferred") == 2  # both recurrent products of the cell made there
    for name in ("loop", "lax.scan"):
        (line,) = (line for line in said.splitlines() if name in line and "difference" in line)
        assert float(line.split(":")[-1]) < 1e-5
    (line,) = (line for line in said.splitlines() if line.startswith("mean squared error"))
    first, last = (float(part.split()[-1]) for part in line.split(",")[1:])
    assert last < 0.5 < first


def network(rng, steps, lags):
    """One network's row of vanishing_gradient, of random numbers."""
    measured = {
        "log_norm": [0.0, *np.cumsum(-rng.random(steps - 1)).tolist()],
        "horizon": {"0.1": [3], "0.01": [int(rng.integers(5, steps))]},
    }
    trained = {"accuracy": rng.random(lags).tolist(), "near": [0.9], "far": [0.5]}
    return {"initial": measured, "trained": measured | trained}


@pytest.mark.long
def test_vanishing_gradients(execute, tmp_path):
    rng = np.random.default_rng(0)
    families = vanishing_gradient_training.FAMILIES.values()
    theory = vanishing_gradient_theory
    results = {
        "linear": theory.linear_theory(20),
        "sufficient": theory.small_singular_values_suffice(draws=5, size=3, steps=10),
        "nilpotent": theory.explodes_with_zero_eigenvalues(),
        "scalar": theory.scalar_decays(),
        "lstm_flip": theory.lstm_flip(),
        "gru_cases": theory.gru_cases(),
        "networks": {name: network(rng, 30, 20) for names in families for name in names},
    }
    results["table"] = vanishing_gradient.table(results)
    for name, value in {"vanishing": results, "latch": latch_results(rng)}.items():
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "results.json", {"results": value})
    names = execute(
        "vanishing_gradients",
        SEQJAX_RUN=tmp_path / "vanishing",
        SEQJAX_LATCH_RUN=tmp_path / "latch",
    )
    shown = {"singular_values", "forget_bias", "gradient_by_lag", "memory_horizon"}
    assert figures(names) >= shown | {"accuracy_by_lag", "latch_length", "latch_causes"}
    # tanh only makes a linear network's singular values smaller; a larger bias looks further back
    for s, logs in names["log_sigmas"].items():
        assert np.all(logs[:, 0] <= np.arange(60, 0, -1) * np.log(s) + 1e-3)
    horizons = list(names["horizons"].values())
    assert horizons == sorted(horizons)
    assert horizons[0] < 20 < horizons[-1]


def latch_results(rng):
    """A run of latch of the shape its config gives, of random numbers."""
    config = latch.Config(lengths="10,20,30", unit_lengths="10,30", grid=3)

    def row(name):
        share = float(rng.random())
        measured = dict.fromkeys(("success", "low", "high", "latches", "test_error"), share)
        length = int(name.rpartition("T=")[2])
        return measured | {"T": length, "runs": 5, "guesses": 9.0, "w": 1.5} | GRADIENTS

    studies = list(latch.studies(config))
    rows = {name: row(name) for name in studies if ", T=" in name}
    levels = [0.0, 0.5, 1.0]
    for name in studies:
        if name.startswith("grid"):
            w0 = float(name.rpartition("=")[2])
            rows[name] = {"w0": w0, "noise": levels, "success": rng.random(3).tolist()}
    rows["two-sequence"] = {"runs": 5, "solved": 5, "guesses": 9.0, "test_error": 0.1}
    return latch.collect(rows)


GRADIENTS = {"gradient_start": 0.1, "gradient_end": 0.01}


def test_odyssey(execute, tmp_path):
    rng = np.random.default_rng(0)
    config = Config()
    write_json(tmp_path / "config.json", dataclasses.asdict(config))
    lines = [{"key": "task", "task": "music", "unit": "nats per frame", "baseline": 12.0}]
    for variant in config.names():
        for number in range(12):
            trial = draw_trial(config, jax.random.key(int(rng.integers(2**31))))
            test = 8.5 + abs(np.log10(trial.learning_rate) + 2) + 0.1 * rng.random()
            test += variant == "lstm_noaf"  # the one that is worse
            lines.append({"key": f"{variant}/{number}", "variant": variant, **trial._asdict()})
            lines[-1] |= {"parameters": 1000, "epochs": 5, "best_epoch": 3, "end": "patience"}
            lines[-1] |= {"valid": test, "test": test, "test_by_piece": test}
            lines[-1] |= {"seconds_per_epoch": 0.1}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "trials.jsonl").write_text(text)
    names = execute("odyssey", SEQJAX_RUN=tmp_path)
    assert figures(names) >= {"variants", "shares", "learning_rate"}
    assert set(names["variants"]) == set(LETTERS)
    alone = names["shares"].alone
    assert max(alone, key=alone.get) == "learning_rate"  # as made above
    assert names["found"]["variants"]["lstm_noaf"]["verdict"] == "worse"


def test_forget_bias(execute, tmp_path):
    rng = np.random.default_rng(0)
    config = forget_bias.Config(biases="0,3,chrono", networks="GRU", rates="0.01", length=12)
    task = config.tasks()["temporal order"]
    labels, key = config.bias_labels(), jax.random.key(0)
    memory = retained(config.setting()._replace(hidden=4), task, labels, key)
    units = {}
    for name in config.tasks():
        for kind, names in {"LSTM": labels, "GRU": ("-",)}.items():
            curve = rng.random((4, len(names), 3))
            row = {"task": name, "network": kind, "labels": list(names), "rate": 0.01}
            row |= {"score": curve[-1].tolist(), "curve": curve.tolist(), "check_every": 5}
            units[f"{name}, {kind}"] = row
    whole = {
        "config": dataclasses.asdict(config),
        "results": {"units": units, "memory": memory},
    }
    write_json(tmp_path / "results.json", whole)
    names = execute("forget_bias", SEQJAX_RUN=tmp_path)
    shown = {"memory", "bias", "networks", "curves_adding", "curves_temporal_order"}
    assert figures(names) >= shown
    assert "chrono less b = 0:" in names["table"]


def test_looking_inside(execute, tmp_path):
    text = "".join(
        f'def f{i}(x, y):\n    """Says {i}."""\n    if x[{i}] == "a{i}":  # once\n'
        f"        return (x + y) * {i % 7}\n\n"
        for i in range(60)
    )
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    config = char_lm.Config(
        hidden_size=12, batch_size=4, validation_fraction=0.4, data=str(tmp_path / "text.txt")
    )
    data = load_data(config)
    state = build(config, len(data.vocabulary), 10, 1).state
    state = state._replace(params=jax.tree.map(jnp.asarray, randomise(state.params, 5)))
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints" / "best")
    record = {"config": dataclasses.asdict(config), "vocabulary": data.vocabulary.tokens}
    checkpoints.save(state, record)
    checkpoints.close()
    names = execute(
        "looking_inside", SEQJAX_RUN=tmp_path / "run", SEQJAX_DATA_OF_RUN=tmp_path / "text.txt"
    )
    assert figures(names) == {"text", "saturation"}
    assert len(names["text"]) == len(data.streams["validation"])
    assert len(names["units"]) == 2 * 12  # h and c
    assert "inside quotes" in names["ranking"]
    assert not names["ranking"][names["clearest"]].graded
    assert set(names["saturation"]) == {"i", "f", "o"}


@pytest.mark.long
def test_attention_and_beams(execute):
    names = execute("attention_and_beams")
    np.testing.assert_allclose(names["weights"].sum(1), 1, rtol=1e-5)
    assert names["hypotheses"][0][0] == "1999-03-03"
    scores = [log_prob for _, log_prob in names["hypotheses"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(np.exp(scores)) <= 1 + 1e-5
    assert figures(names) >= {"weights"}


def test_parallel_in_time(execute):
    names = execute("parallel_in_time")
    assert max(names["differences"].values()) < 1e-4
    assert names["iterations"][:, 0].max() < 8
    assert not names["fell_back"][:, :2].any()
    assert names["fell_back"][1, -1]  # the state of a GRU three times as strong forgets nothing
    assert figures(names) == {"iterations"}
