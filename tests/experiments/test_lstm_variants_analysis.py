"""What is made of the trials of a search: who is compared, by which numbers."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from experiments.lstm_variants import analysis
from experiments.lstm_variants.config import Config
from experiments.lstm_variants.fanova import fanova
from experiments.lstm_variants.trials import draw_trial
from seqjax import InputError


def test_shares_of_a_function_that_is_known():
    """y = 3a + b + 4(a - 1/2)(c - 1/2): shares by integration; d does nothing."""
    rng = np.random.default_rng(0)
    x = rng.random((4000, 4))
    y = 3 * x[:, 0] + x[:, 1] + 4 * (x[:, 0] - 0.5) * (x[:, 2] - 0.5)
    parts = np.array([9 / 12, 1 / 12, 16 / 144])
    expected = parts / parts.sum()
    found = fanova("abcd", x, y)
    assert found.alone["a"] == pytest.approx(expected[0], abs=0.05)
    assert found.alone["b"] == pytest.approx(expected[1], abs=0.03)
    assert found.pairs[("a", "c")] == pytest.approx(expected[2], abs=0.04)
    assert found.alone["d"] < 0.01
    surface = found.surfaces[("a", "b")]
    assert surface[-1, -1] > surface[-1, 0] > surface[0, -1] > surface[0, 0]


def rows(tests, valid=None, **more):
    return [
        {"variant": "x", "test": t, "test_by_piece": t, "valid": v, "parameters": 10.0}
        | {"learning_rate": 1e-3, "hidden_size": 50, "noise": 0.5, "momentum": 0.9}
        | {"end": "all rounds", "seconds_per_epoch": 1.0, "epochs": 3, "best_epoch": 2}
        | more
        for t, v in zip(tests, valid or tests, strict=True)
    ]


def test_the_best_tenth_is_chosen_by_validation_and_is_never_fewer_than_five():
    some = rows(range(20), valid=[20 - i for i in range(20)])
    assert [row["test"] for row in analysis.best_tenth(some)] == [19, 18, 17, 16, 15]
    assert len(analysis.best_tenth(rows(range(200)))) == 20
    assert analysis.best_tenth(rows([math.inf] * 9)) == []


def test_welch_tells_a_shift_from_noise():
    rng = np.random.default_rng(0)
    a, b = rng.normal(8.5, 0.1, 200), rng.normal(8.5, 0.1, 200)
    assert analysis.compare(rows(b), rows(a)) > 0.01
    assert analysis.compare(rows(a + 1), rows(a)) < 1e-6
    assert analysis.compare(rows([8.0]), rows(a)) is None


def test_luck_is_the_spread_of_the_best_tenth_over_searches():
    """Of n even draws the k best average (k + 1) / 2 (n + 1); their spread by simulation."""
    rng = np.random.default_rng(0)
    searches = rng.random((400, 60))
    spread = np.sort(searches)[:, :6].mean(1).std()
    found = np.median([analysis.luck(rows(search), 200) for search in searches[:20]])
    assert found == pytest.approx(spread, rel=0.4)
    assert analysis.luck(rows([2.0] * 20)) == 0


def test_what_a_verdict_needs():
    """Twice as far away needs a quarter of the trials; at the wanted distance those there are suffice."""
    rng = np.random.default_rng(0)
    searches = rng.normal(8.5, 0.1, (2, 40))
    a, b = rows(searches[0]), rows(searches[1] + 1)
    assert analysis.away(b, a) > 5
    assert analysis.away(a, b) == pytest.approx(-analysis.away(b, a))
    assert analysis.away(a, rows([math.inf] * 9)) is None
    wanted = 2.734 + 0.842  # Φ⁻¹(1 - .05 / 16) + Φ⁻¹(.8)
    assert analysis.trials_needed(rows(range(200)), wanted) == pytest.approx(200, abs=1)
    assert analysis.trials_needed(rows(range(200)), -2 * wanted) == pytest.approx(50, abs=1)
    assert analysis.trials_needed(a, wanted) == pytest.approx(
        50, abs=1
    )  # five of 40 are as five of 50
    assert analysis.trials_needed(a, None) is None


def test_luck_is_half_with_four_times_the_trials():
    searches = np.random.default_rng(0).random((20, 400))
    few = np.median([analysis.luck(rows(search[:100]), 200) for search in searches])
    many = np.median([analysis.luck(rows(search), 200) for search in searches])
    assert few / many == pytest.approx(2, rel=0.25)


def test_distances_and_needs_stand_in_the_table():
    rng = np.random.default_rng(0)
    tests = rng.normal(8.5, 0.1, 40)
    variants = {"lstm_peephole": rows(tests), "lstm_noaf": rows(tests + 1)}
    text = analysis.table(analysis.analyse({"task": "music", "unit": "nats"}, variants, None))
    line = next(line.split() for line in text.splitlines() if line.startswith("NOAF"))
    row = analysis.variant_numbers(variants["lstm_noaf"], variants["lstm_peephole"])
    assert f"{row['away']:.1f}" in line
    assert str(row["needed"]) in line


def test_scale_is_even_over_what_the_search_draws():
    config = Config()
    keys = jax.random.split(jax.random.key(0), 300)
    ranges = dataclasses.asdict(config)
    drawn = [draw_trial(config, key)._asdict() for key in keys]
    scaled = np.stack([analysis.unit_scale(row, ranges) for row in drawn])
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    for column in scaled.T:  # Kolmogorov and Smirnov's distance from even
        gaps = np.abs(np.sort(column) - (np.arange(300) + 0.5) / 300)
        assert gaps.max() < 1.7 / 300**0.5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "holds no trials"),
        ('{"key": "lstm_np/0", "variant": "lstm_np"}\n', "line 1 of .* needs a number under"),
        ("nonsense\n", "line 1 of .* is not valid JSON"),
    ],
)
def test_analysis_of_a_broken_file(tmp_path, line, says):
    (tmp_path / "trials.jsonl").write_text(line)
    with pytest.raises(InputError, match=says):
        analysis.read_trials(tmp_path / "trials.jsonl")


def test_published_numbers_stand_beside_their_own_data_alone():
    """JSB Chorales is known by the nats of its independent notes; a score far off is no result."""
    rows = [
        {"test": t, "valid": t, "test_by_piece": t, "parameters": 1.0, "end": "no progress"}
        for t in (8.5, 8.6, 8.7, 9.0, 12.0, 2e5)
    ]
    for baseline, own in ((11.0614, True), (9.2, False)):
        task = {"task": "music", "unit": "nats", "baseline": baseline}
        text = analysis.table(analysis.analyse(task, {"lstm_peephole": rows}, None))
        assert ("8.38" in text) == own
        assert ("published" in text) == own
    found = analysis.variant_numbers(rows, None, 11.0)
    assert found["diverged"] == 1
