"""The character experiment in small: what it learns, writes, resumes and samples."""

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.char_lm import program as char_lm
from experiments.char_lm.config import Config
from experiments.char_lm.network import build
from experiments.char_lm.program import run
from experiments.char_lm.sampling import sample_only
from experiments.char_lm.text import load_data
from seqjax import InputError
from seqjax.data import evaluation_rows, load_text
from seqjax.files.json import read_lines
from seqjax.losses import next_token_losses
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training.saved_models import load_language_model

TEXT = "the cat sat on the mat.\n" * 300


def make_config(directory, **changes):
    """A run of a second, on text that is easy to predict."""
    path = directory / "text.txt"
    path.write_text(changes.pop("text", TEXT), encoding="utf-8")
    small = {
        "data": str(path),
        "workdir": str(directory / "run"),
        "hidden_size": 8,
        "seq_len": 12,
        "batch_size": 4,
        "schedule": "constant",
        "warmup_steps": 0,
        "sample_every": 0,
        "length": 30,
    }
    return Config(**small | changes)


def last_state(config, steps):
    vocabulary = load_data(config).vocabulary
    checkpoints = Checkpoints(Path(config.workdir) / "checkpoints" / "last")
    state = checkpoints.restore(build(config, len(vocabulary), steps, 1).state)
    checkpoints.close()
    return state


@pytest.mark.whole
def test_learns_and_writes_its_files(tmp_path, capsys):
    config = make_config(
        tmp_path, steps=150, learning_rate=0.02, eval_every=50, ngram_order=3, test_fraction=0.1
    )
    results = run(config)
    shares = np.array(list(Counter(TEXT).values())) / len(TEXT)
    unigram = float(-(shares * np.log(shares)).sum())
    assert results["validation_loss"] < 0.7 * unigram
    splits = load_text(config.data, validation_fraction=0.05, test_fraction=0.1)
    saved = load_language_model(config.workdir)
    ids = saved.vocabulary.encode(splits.test).ids
    rows = evaluation_rows(ids, config.batch_size, config.seq_len)
    losses = next_token_losses(saved.model(jnp.asarray(rows.inputs))[1], rows.targets)
    expected = float((losses * rows.weights).sum() / rows.weights.sum())
    assert results["test_loss"] == pytest.approx(expected, rel=1e-4)
    assert 0 < results["ngram_loss"] < 0.5 * unigram
    for name in ("validation", "test", "ngram"):
        bits = results[f"{name}_loss"] / math.log(2)
        assert results[f"{name}_bits_per_char"] == pytest.approx(bits)
    assert results["skipped_updates"] == 0

    workdir = tmp_path / "run"
    rows = read_lines(workdir / "metrics.jsonl")
    assert [r["step"] for r in rows if r["split"] == "train"] == list(range(5, 151, 5))
    validation = [r["loss"] for r in rows if r["split"] == "validation"]
    assert len(validation) == 3
    assert min(validation) == results["validation_loss"]
    assert results["step_of_best_validation"] == 50 * (1 + int(np.argmin(validation)))
    written = json.loads((workdir / "results.json").read_text())
    assert written["results"] == results
    assert written["config"] == json.loads((workdir / "config.json").read_text())
    assert Config(**written["config"]) == dataclasses.replace(config, devices=1)  # auto, decided
    vocabulary = json.loads((workdir / "vocabulary.json").read_text())
    assert vocabulary == ["<unk>", *sorted(set(TEXT))]
    assert (workdir / "curve.png").read_bytes().startswith(b"\x89PNG")
    sample = (workdir / "sample.txt").read_text(encoding="utf-8")
    assert len(sample) == 31
    assert sample in capsys.readouterr().out


@pytest.mark.numeric
def test_a_resumed_run_is_bit_identical(tmp_path):
    changes = {
        "dropout": 0.3,
        "optimizer": "momentum",
        "layers": 2,
        "learning_rate": 0.05,
        "eval_every": 3,
        "ngram_order": 0,
    }
    (tmp_path / "whole").mkdir()
    whole = make_config(tmp_path / "whole", **changes, steps=12)
    results = run(whole)
    for steps in (6, 12):
        parts = make_config(tmp_path, **changes, steps=steps, resume=steps == 12)
        resumed = run(parts)
    a, b = last_state(whole, 12), last_state(parts, 12)
    assert int(a.step) == 12
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
    metrics = [Path(c.workdir) / "metrics.jsonl" for c in (whole, parts)]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert results | {"minutes": 0} == resumed | {"minutes": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of a few updates."""
    config = make_config(tmp_path_factory.mktemp("trained"), steps=2, eval_every=2, ngram_order=0)
    run(config)
    return config


@pytest.mark.long
def test_sampling_from_a_checkpoint_depends_on_the_seed_alone(trained, capsys):
    def sample(path="", **changes):
        checkpoint = f"{trained.workdir}{path}"
        changes = {"prime": "the ", "length": 40} | changes
        text = sample_only(Config(sample_only=True, checkpoint=checkpoint, **changes))
        assert capsys.readouterr().out == text + "\n"
        return text

    first = sample(seed=3)
    assert first.startswith("the ")
    assert len(first) == 44
    assert sample("/checkpoints", seed=3) == sample("/checkpoints/best", seed=3) == first
    assert sample(seed=4) != first
    greedy = sample(seed=3, temperature=0)
    assert greedy == sample(seed=4, temperature=0) == sample(top_k=1) == sample(beam=1)
    assert greedy == sample(top_p=1e-6)
    assert sample(temperature=0, repetition_penalty=1e6)[4:12] != greedy[4:12]  # nothing twice
    wide = sample(beam=4)
    assert len(wide) == 44


def test_choices_that_are_refused():
    saved = {"sample_only": True, "checkpoint": "RUN"}
    for change, message in (
        ({"top_p": 0.0}, "--top_p must lie above 0"),
        ({"repetition_penalty": -1.0}, "--repetition_penalty must be a number above 0"),
        ({"beam": 3}, "--beam=3 needs --sample_only"),
        ({"decay_after": 3}, "--decay_after has no use with --schedule=cosine"),
        (saved | {"steps": 3}, "--steps has no use with --sample_only"),
        (saved | {"beam": 3, "top_k": 3}, "--top_k has no use with --beam"),
    ):
        with pytest.raises(InputError, match=message):
            Config(**change)


@pytest.mark.whole
def test_a_resumed_run_must_be_the_same_run(trained):
    changes = {"steps": 4, "eval_every": 2, "ngram_order": 0, "resume": True}
    directory = Path(trained.workdir).parent
    metrics = (directory / "run" / "metrics.jsonl").read_bytes()
    for name, value in (("hidden_size", 9), ("learning_rate", 0.1), ("seed", 1)):
        saved = getattr(trained, name)
        with pytest.raises(InputError, match=rf" {name}={saved}, got {name}={value}"):
            run(make_config(directory, **changes | {name: value}))
    with pytest.raises(InputError, match="with another text"):
        run(make_config(directory, **changes, text=TEXT.replace("c", "q")))
    with pytest.raises(InputError, match="holds a run already"):
        run(make_config(directory, steps=4))
    assert (directory / "run" / "metrics.jsonl").read_bytes() == metrics


def test_unseen_characters_are_reported_and_not_fatal(tmp_path, capsys):
    text = TEXT[:-60] + "ΩΩ!" * 20
    fast = {"steps": 20, "eval_every": 10, "learning_rate": 0.05, "tie_weights": True}
    config = make_config(tmp_path, text=text, validation_fraction=60 / len(text), **fast)
    results = run(config)
    assert math.isfinite(results["validation_loss"])
    assert math.isfinite(results["ngram_loss"])
    # The more it trains the less it expects them, and what counts is the best model.
    rows = read_lines(tmp_path / "run" / "metrics.jsonl")
    losses = [row["loss"] for row in rows if row["split"] == "validation"]
    assert losses[0] < losses[1]
    assert results["validation_loss"] == losses[0]
    assert results["step_of_best_validation"] == 10
    line = next(s for s in capsys.readouterr().out.splitlines() if "<unk>" in s)
    assert line.startswith("validation: 60 characters of 2 kinds")
    assert line.endswith("'Ω' 40x, '!' 20x")


def test_a_text_without_validation_runs(tmp_path):
    results = run(make_config(tmp_path, validation_fraction=0.0, epochs=1, text=TEXT[:99]))
    assert "validation_loss" not in results
    assert results["step_of_best_validation"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prime": "the Ω"}, "--prime has characters the model never saw: 'Ω'"),
        ({"text": "too short"}, "give more text"),
        ({"text": "  "}, "the training text is empty"),
        ({"text": "a\0b"}, "is binary"),
        ({"data": "/nowhere/at/all"}, "/nowhere/at/all: no such file"),
        ({"validation_fraction": 1.0}, r"validation_fraction must .* got 1\.0"),
        ({"weight_decay": 0.1}, "weight_decay needs optimizer 'adamw', got 'adam'"),
        ({"clip_norm": -1.0}, r"clip_norm must .* got -1\.0"),
        ({"warmup_steps": -1}, "warmup_steps must .* got -1"),
        ({"schedule": "step", "decay_factor": math.nan}, "decay_factor must .* got nan"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        char_lm.main(make_config(tmp_path, **{"steps": 1} | changes))
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]
    with pytest.raises(InputError, match=r"no checkpoint in .*test_char_lm"):
        sample_only(Config(sample_only=True, checkpoint=__file__))


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    config = make_config(tmp_path, workdir=str(tmp_path / "file" / "run"), steps=1)
    with pytest.raises(InputError, match=r"cannot make the directory .*file/run"):
        run(config)
