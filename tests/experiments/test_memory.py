"""The memory experiment at a tiny size."""

import json

import pytest

from experiments.memory import WAYS, Config, run
from seqjax import InputError


@pytest.mark.long
def test_counts_bytes_and_seconds_of_every_way(tmp_path):
    results = run(Config(hidden_size=8, steps="16,256", repeats=1, workdir=str(tmp_path / "run")))
    assert (tmp_path / "run" / "memory.png").stat().st_size > 10_000
    saved = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    for length in (16, 256):
        for way in WAYS:
            assert results["lengths"][length][way]["seconds"] > 0
            assert saved["lengths"][str(length)][way] == results["lengths"][length][way]
    long = {way: row["bytes"] for way, row in results["lengths"][256].items()}
    assert long["blocks"] < long["gates"]
    assert long["blocks"] < long["lax.scan"]
    for errors in results["precision"].values():
        assert errors["float32"] < 1e-4 < errors["bfloat16 products"] < 0.1


@pytest.mark.parametrize("steps", ["", "10,", "ten", "0", "10,-1"])
def test_bad_lengths_are_refused(steps):
    with pytest.raises(InputError, match="--steps"):
        Config(steps=steps)
