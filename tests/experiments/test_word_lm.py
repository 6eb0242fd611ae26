"""The word experiment in small: it learns, writes its files, and resumes."""

import json
import math

import numpy as np
import pytest

from experiments.word_lm import Config, run
from seqjax import InputError
from seqjax.files.json import read_lines


def make_config(directory, **changes):
    directory.mkdir(parents=True, exist_ok=True)
    words = np.array(["one", "two", "three", "four", "five", "six", "seven", "eight"])
    lines = np.random.default_rng(0).permutation(np.tile(words, 75)).reshape(-1, 6)
    lines[:, 1::2] = lines[:, 0::2]  # every word comes twice
    path = directory / "text.txt"
    path.write_text("\n".join(map(" ".join, lines)) + "\n")
    small = {
        "data": str(path),
        "workdir": str(directory / "run"),
        "hidden_size": 8,
        "seq_len": 7,
        "batch_size": 4,
        "learning_rate": 1.0,
        "max_vocabulary": 8,
    }
    return Config(**small | changes)


@pytest.mark.whole
def test_learns_writes_its_files_and_resumes_to_the_same_end(tmp_path):
    changes = {"dropout": 0.2, "decay_after": 1}
    results = run(make_config(tmp_path / "whole", **changes, epochs=4))
    run(make_config(tmp_path / "parts", **changes, epochs=2))
    resumed = run(make_config(tmp_path / "parts", **changes, epochs=4, resume=True))
    assert results | {"minutes": 0} == resumed | {"minutes": 0}
    whole, parts = (tmp_path / name / "run" for name in ("whole", "parts"))
    assert (whole / "metrics.jsonl").read_bytes() == (parts / "metrics.jsonl").read_bytes()

    rows = read_lines(whole / "metrics.jsonl")
    validation = [row for row in rows if row["split"] == "validation"]
    assert len(validation) == 4
    assert all(row["perplexity"] == pytest.approx(math.exp(row["loss"])) for row in rows)
    assert validation[-1]["perplexity"] == results["validation_perplexity"] < 8
    rates = sorted({row["learning_rate"] for row in rows if row["split"] == "train"})
    assert rates == [0.125, 0.25, 0.5, 1.0]
    written = json.loads((whole / "results.json").read_text())
    assert written["results"] == results
    assert (whole / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_loss_without_a_perplexity_does_not_end_the_run(tmp_path):
    """Above 710 nats exp(loss) is no float64 any more; the run is bad, but it is not a bug."""
    results = run(make_config(tmp_path, learning_rate=1e6, clip_norm=0.0, epochs=1))
    assert results["validation_perplexity"] == math.inf
    json.loads((tmp_path / "run" / "results.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": -1}, "--hidden_size must .* got -1"),
        ({"init_scale": math.nan}, "--init_scale must .* got nan"),
        ({"epochs": 0}, "--epochs must .* got 0"),
        ({"workdir": "", "resume": True}, "resume=True needs the workdir="),
        ({"dropout": 1.0}, r"dropout must .* got 1\.0"),
        ({"learning_rate": math.nan}, "learning_rate must .* got nan"),
        ({"decay_after": -1}, "decay_after must .* got -1"),
        ({"clip_norm": -1.0}, r"clip_norm must .* got -1\.0"),
        ({"max_vocabulary": 1}, "got 1"),
        ({"batch_size": 500}, "give more text"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(make_config(tmp_path, **changes))
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]
