"""The sweep of forget biases: what differs between its members, what does not, and its figures."""

import dataclasses
import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.common.readout import Readout
from experiments.forget_bias import (
    memory as forget_bias_memory,
)
from experiments.forget_bias import (
    program as forget_bias,
)
from experiments.forget_bias import (
    report as forget_bias_report,
)
from experiments.forget_bias import schedule, training
from experiments.forget_bias.tasks import OTHERS, PUBLISHED, make_cell, tasks
from seqjax import InputError, unroll

TOY = training.Setting(8, 4, 4, 2, 2, clip=1.0, optimizer="adam", test_size=20)
STREAM = training.Setting(6, 3, 8, 2, 2, clip=5.0, optimizer="sgd", test_size=50)


def test_only_the_bias_differs_and_seeds_are_shared():
    task = tasks("toys", 12, 4)["temporal order"]
    keys = jax.random.split(jax.random.key(0), 3)
    start, _ = training.programs(TOY, task, "LSTM")
    (params, _), _, _ = start(keys)
    assert not np.any(params["b"])
    assert np.any(params["w"][0] != params["w"][1])
    labels = ("b = -2", "b = 3", "chrono")
    biases = training.first_biases(labels, 12, 8, keys).reshape(3, 3, 4, 8)
    np.testing.assert_array_equal(biases[:2, :, 1], [np.full((3, 8), -2), np.full((3, 8), 3)])
    assert not np.any(biases[:2, :, jnp.array([0, 2, 3])])
    np.testing.assert_array_equal(biases[2, :, 0], -biases[2, :, 1])  # chrono: b_i = -b_f
    assert np.all((biases[2, :, 1] >= 0) & (biases[2, :, 1] <= np.log(11)))
    assert np.any(biases[2, 0] != biases[2, 1])


@pytest.mark.long
def test_a_bias_learns_the_same_whatever_stands_beside_it():
    task = tasks("toys", 12, 4)["adding"]
    key = jax.random.key(1)
    both = training.train(TOY, task, "LSTM", ("b = 0", "b = 3"), 0.01, key)
    alone = training.train(TOY, task, "LSTM", ("b = 3",), 0.01, key)
    assert np.shape(both["curve"]) == (2, 2, 2)  # checks, labels, seeds
    np.testing.assert_allclose(both["score"][1], alone["score"][0], rtol=1e-5, atol=1e-6)
    assert both["score"] == both["curve"][-1]


def test_a_rate_is_halved_once_nothing_improves_and_ends():
    now = schedule.begin(2.0, (1, 2))
    rates = []
    for check in range(9):  # the first network improves until check 2, the second always
        now = schedule.after_check(now, np.array([[min(check, 2), check]]), patience=3)
        rates.append(now.rate[0].tolist())
    first, second = zip(*rates, strict=True)
    assert first == (2, 2, 2, 2, 2, 1, 0.5, 0.25, 0.125)
    assert set(second) == {2}
    assert schedule.after_check(now, np.zeros((1, 2)), patience=3).rate.tolist() == [[0, 2]]
    constant = schedule.begin(2.0, (1,))
    for _ in range(9):
        constant = schedule.after_check(constant, np.zeros(1), patience=0)
    assert constant.rate == 2


def test_nothing_diverges_into_a_better_score():
    """NaN is no better score: what has diverged ends."""
    now = schedule.begin(1.0, (1,))
    for _ in range(8):
        now = schedule.after_check(now, np.array([np.nan]), patience=3)
    assert now.rate == 0


@pytest.mark.long
def test_what_decides_is_not_what_is_reported(monkeypatch):
    decided = []

    def after_check(now, scores, patience):
        decided.append(scores.tolist())
        return now

    monkeypatch.setattr(training, "after_check", after_check)
    task = tasks("arithmetic", 5, 2)["arithmetic"]
    key = jax.random.key(0)
    constant = training.train(STREAM, task, "LSTM", ("b = 0",), 1.0, key)
    np.testing.assert_allclose(decided, constant["curve"])
    decided.clear()
    setting = STREAM._replace(patience=1)
    judged = training.train(setting, task, "LSTM", ("b = 0",), 1.0, key)
    assert judged["curve"] == constant["curve"]
    assert decided != judged["curve"]


@pytest.mark.long
def test_training_ends_when_all_networks_have():
    """At a rate of nearly 0 no score changes: one check, then patience, then the halvings."""
    task = tasks("arithmetic", 5, 2)["arithmetic"]
    setting = STREAM._replace(updates=60, checks=30, patience=2)
    row = training.train(setting, task, "LSTM", ("b = 0",), 1e-30, jax.random.key(0))
    assert len(row["curve"]) == 1 + 2 + schedule.HALVINGS
    assert row["updates"] == [[2 * 7, 2 * 7]]


@pytest.mark.long
def test_the_state_of_a_stream_goes_on_from_window_to_window():
    """At rate 0 nothing is learnt: four windows are one sequence of 4 times 5 steps."""
    task = tasks("arithmetic", 5, 2)["arithmetic"]
    keys = jax.random.split(jax.random.key(2), 2)
    draw, draw_tests = training.sequences(STREAM, task)
    episodes = draw(keys)
    assert episodes.inputs.shape == (2, 4, 5, 3, 40)  # seeds, windows, steps, batch, symbols
    shown = episodes.inputs.argmax(-1).reshape(2, 20, 3)
    np.testing.assert_array_equal(shown[:, 1:], episodes.targets.reshape(2, 20, 3)[:, :-1])
    start, advance = training.programs(STREAM, task, "LSTM")
    carry = jax.tree.map(lambda a: a[None], start(keys))
    tests = [draw_tests(keys)]
    (params, _, state), (scores,) = advance(carry, jnp.zeros((1, 2)), episodes, tests)
    assert scores.shape == (1, 2)
    cell = make_cell("LSTM", 6)
    for seed in range(2):
        xs = episodes.inputs[seed].reshape(20, 3, 40)
        expected, _ = unroll(cell, jax.tree.map(lambda a, s=seed: a[0, s], params[0]), xs)
        np.testing.assert_allclose(state.c[0, seed], expected.c, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_network_whose_training_is_over_survives_gradients_of_nan():
    task = tasks("arithmetic", 5, 2)["arithmetic"]
    keys = jax.random.split(jax.random.key(2), 2)
    draw, draw_tests = training.sequences(STREAM, task)
    episodes = draw(keys)
    broken = episodes._replace(inputs=episodes.inputs * jnp.nan)
    start, advance = training.programs(STREAM, task, "LSTM")
    carry = jax.tree.map(lambda a: a[None], start(keys))
    rates = jnp.array([[0.0, 1.0]])
    (params, _, _), _ = advance(carry, rates, broken, [draw_tests(keys)])
    for before, after in zip(jax.tree.leaves(carry[0]), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(after[0, 0], before[0, 0])
        assert np.all(np.isnan(after[0, 1]))


def test_scores():
    task = tasks("toys", 12, 4)
    order, adding = task["temporal order"], task["adding"]
    episode = order.draw(jax.random.key(0), 200, 12)
    right = 10 * jax.nn.one_hot(episode.targets, 4)
    assert training.score_of(order, right, episode) == 1
    assert abs(training.score_of(order, 0 * right, episode) - 0.25) < 0.1
    assert training.score_of(order, right * jnp.nan, episode) == 0
    episode = adding.draw(jax.random.key(0), 2000, 12)
    assert training.score_of(adding, episode.targets[:, None], episode) == 1
    assert training.score_of(adding, jnp.ones((2000, 1)), episode) < 0.05  # the mean: nothing


def test_of_copies_the_answers_count_and_nothing_else():
    task = tasks("copying", 12, 4)["copying"]
    episode = task.draw(jax.random.key(0), 50, 12)
    assert episode.inputs.shape[:2] == episode.targets.shape == (12, 50)
    shown = episode.inputs.argmax(-1)
    np.testing.assert_array_equal(episode.targets[-2:], shown[:2])
    np.testing.assert_array_equal(episode.weights.sum(axis=1), [0] * 10 + [50] * 2)
    right = jax.nn.one_hot(episode.targets, task.outputs)
    assert training.score_of(task, right, episode) == 1
    blank = jnp.zeros_like(right).at[..., 0].set(1)
    assert training.score_of(task, blank, episode) == 0
    cell = make_cell("LSTM", 6)
    params = (cell.init(jax.random.key(0), 6), Readout(jnp.ones((6, 5)), jnp.zeros(5)))
    _, answers = training.answer(cell, task, params, None, episode)
    assert answers.shape == (12, 50, 5)
    with pytest.raises(InputError, match="--length must be at least 5 steps for copying, got 4"):
        forget_bias.Config(study="copying", length=4)


def test_what_an_untrained_cell_keeps():
    task = tasks("toys", 20, 4)["temporal order"]
    labels = ("b = 0", "b = 1", "b = 2", "b = 5")
    row = forget_bias_memory.retained(TOY, task, labels, jax.random.key(0))
    measured, expected = np.array(row["measured"]), np.array(row["expected"])
    assert measured.shape == expected.shape == (4, 20)
    # After 20 steps 1e-6, 2e-3 and 8e-2 are left.
    np.testing.assert_allclose(expected[:3, -1], [9.5e-7, 1.9e-3, 7.9e-2], rtol=0.02)
    assert np.all(np.diff(measured, axis=0) > 0)
    assert np.all(np.diff(measured, axis=1) < 0)
    assert np.all(np.abs(np.log(measured / expected)) < 0.5 * np.arange(1, 21))


def test_every_published_number_has_its_network():
    known = {*OTHERS} - {"LSTM, o = tanh"} | {"LSTM, b = 0", "LSTM, b = 1"}
    for table in PUBLISHED.values():
        assert set(table) == known


@pytest.mark.long
def test_a_tiny_study_end_to_end_and_again(tmp_path, capsys):
    tiny = forget_bias.Config(
        engine="here",
        biases="0,3,chrono",
        networks="none",
        rates="0.01,0.03",
        length=10,
        updates=4,
        hidden_size=4,
        seeds=2,
        workdir=str(tmp_path),
    )
    results = forget_bias.run(tiny)
    said = capsys.readouterr().out
    assert said.startswith("toys: about ")
    assert "b = 3 less b = 0:" in said
    assert len(results["units"]) == 2 * 2
    figures = ("bias.png", "networks.png", "memory.png", "curves_adding.png")
    for name in ("results.json", "table.txt", *figures, "curves_temporal_order.png"):
        assert (tmp_path / name).stat().st_size > 0
    lines = (tmp_path / "units.jsonl").read_text().splitlines()
    (tmp_path / "units.jsonl").write_text(lines[0] + "\n")  # as if killed after the first unit
    assert forget_bias.run(dataclasses.replace(tiny, resume=True)) == results
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results


def test_the_report_of_a_stream_shows_what_was_published(tmp_path):
    """Made-up scores: figures and table do not depend on training."""
    config = forget_bias.Config(study="arithmetic", networks="tanh;GRU", rates="1,2", seeds=3)
    names = [*config.bias_labels(), "tanh", "GRU"]
    rng = np.random.default_rng(0)
    rows = {}
    for name in names:
        for rate in (1.0, 2.0):
            curve = rng.uniform(size=(4, 1, 3)).tolist()
            network = name if name in OTHERS else "LSTM"
            rows[f"{name}, {rate}"] = {
                "task": "arithmetic",
                "network": network,
                "labels": [name if network == "LSTM" else "-"],
                "rate": rate,
                "check_every": 5,
                "score": curve[-1],
                "curve": curve,
            }
    steps = [[1.0, 0.5]] * len(config.bias_labels())
    memory = {"labels": list(config.bias_labels()), "measured": steps, "expected": steps}
    text = forget_bias_report.report(tmp_path, rows, memory, "")
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert lines["LSTM, b = 1"].endswith("0.902")
    assert lines["LSTM, b = 0"].endswith("0.892")
    assert lines["tanh"].endswith("0.295")
    assert lines["LSTM, b = 3"].endswith("-")
    scores = np.array(rows["GRU, 1.0"]["score"][0])
    half = stats.t.ppf(0.975, 2) * scores.std(ddof=1) / 3**0.5
    assert f"{scores.mean():.3f} ± {half:.3f}" in lines["GRU"]
    assert (tmp_path / "curves_arithmetic.png").stat().st_size > 0


def test_units_of_streams_are_small():
    names = list(forget_bias.units(forget_bias.Config(study="xml", rates="1")))
    assert len(names) == 9 + 9
    assert "xml, LSTM, b = -2, rate=1" in names
    assert len(forget_bias.units(forget_bias.Config())) == 2 * 2 * (1 + 9)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"biases": "0,many"}, "--biases takes numbers and chrono, separated by commas, got '0,ma"),
        ({"networks": "GRU;LSTM"}, "unknown network 'LSTM' in --networks; choose from LSTM-f; "),
        ({"rates": "fast"}, "--rates takes numbers separated by commas, got 'fast'"),
        ({"rates": "0.1,-1"}, "--rates must be a finite number above 0, got -1.0"),
        ({"length": 5}, "--length must be at least 10 steps for temporal order, got 5"),
        ({"study": "xml", "length": 2}, "chrono biases need --length of at least 3 steps, got 2"),
        ({"study": "arithmetic", "max_digits": 10}, "--max_digits must be at most 9, got 10"),
        ({"checks": -1}, "--checks must be an integer of at least 1, got -1"),
        ({"patience": 10}, "--patience must be below the number of tests, which is 10, got 10"),
        ({"updates": 7, "checks": 5, "patience": 1}, "number of tests, which is 1, got 1"),
        ({"seeds": -2}, "--seeds must be an integer of at least 1, got -2"),
    ],
)
def test_bad_flags(flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        forget_bias.Config(**flags)


def test_a_gain_is_what_comes_after_less_what_was_before():
    def result(*scores):
        return {0.1: SimpleNamespace(score=np.array(scores))}

    labels = {"b = 0": result(0.2, 0.3), "b = 3": result(0.5, 0.6)}
    (line,) = forget_bias_report.effects(labels, [0.1])
    assert line.startswith("b = 3 less b = 0:  0.300 ± 0.000")
    rates = {rate: SimpleNamespace(score=np.array([score])) for rate, score in ((1, 0.1), (2, 0.9))}
    assert forget_bias_report.best_rate(rates) == 2
