"""experiments.long_lags: its criteria by hand, its cells, a tiny study end to end, bad flags."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.long_lags import (
    criteria as long_lags_criteria,
)
from experiments.long_lags import (
    online as long_lags_online,
)
from experiments.long_lags import (
    program as long_lags,
)
from experiments.long_lags import report, studies
from experiments.long_lags import (
    training as long_lags_training,
)
from experiments.long_lags.cells import lstm_1997, lstm_2000
from experiments.long_lags.methods import METHODS
from seqjax import InputError, lstm, unroll
from seqjax.tasks import Episode
from tests.support.randomness import problem
from tests.support.tiers import some_cells


def episode(targets, weights=None):
    targets = jnp.asarray(targets)
    weights = jnp.ones(targets.shape) if weights is None else jnp.asarray(weights)
    return Episode(jnp.zeros((3, targets.shape[-1], 1)), targets, weights)


def test_a_sequence_of_classes_is_right_if_every_step_that_counts_is():
    scores = jax.nn.one_hot(jnp.array([[0, 1], [1, 1], [2, 0]]), 3)  # [T=3, B=2, C=3]
    asked = episode([[0, 1], [1, 1], [2, 2]])
    np.testing.assert_array_equal(long_lags_criteria.wrong_classes(scores, asked), [False, True])
    free = asked._replace(weights=jnp.array([[1.0, 1], [1, 1], [1, 0]]))
    np.testing.assert_array_equal(long_lags_criteria.wrong_classes(scores, free), [False, False])
    last = episode([2, 2])
    np.testing.assert_array_equal(long_lags_criteria.wrong_classes(scores[-1], last), [False, True])


def test_how_far_a_value_may_be_off():
    answers = jnp.array([[0.53], [0.55], [0.69], [0.71], [0.2]])
    asked = episode([0.5] * 5)
    np.testing.assert_array_equal(
        long_lags_criteria.wrong_values(answers, asked), [False, False, False, True, True]
    )
    np.testing.assert_array_equal(
        long_lags_criteria.wrong_number(answers, asked), [False, True, True, True, True]
    )


def test_all_outputs_must_be_within_three_tenths():
    answers = jnp.array([[0.71, 0.0, 0.29], [0.69, 0.0, 0.0], [0.9, 0.31, 0.0], [0.0, 0.9, 0.0]])
    asked = episode([0, 0, 0, 0])
    np.testing.assert_array_equal(
        long_lags_criteria.wrong_outputs(answers, asked), [False, True, True, True]
    )


def test_the_rule_of_1997_needs_2000_right_in_a_row_and_a_small_mean():
    stop = long_lags_criteria.stopping_point
    errors, wrong = np.full(6000, 0.005), np.zeros(6000, bool)
    assert stop(errors, wrong, 0.01) == 2000
    assert stop(errors[:1999], wrong[:1999], 0.01) is None
    assert stop(errors, wrong, 0.004) is None
    wrong[1500] = True
    assert stop(errors, wrong, 0.01) == 3501
    errors[1501:2501] = 0.016  # the mean falls as these leave the window
    expected = next(n for n in range(3501, 6000) if errors[n - 2000 : n].mean() < 0.01 - 1e-9)
    assert stop(errors, wrong, 0.01) == expected
    assert stop(errors, ~wrong, 0.01) is None


def test_the_longest_run():
    right = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1], bool)
    assert long_lags_online.longest_run(right) == 3
    assert long_lags_online.longest_run(~right) == 2
    assert long_lags_online.longest_run(np.zeros(4, bool)) == 0
    assert long_lags_online.longest_run(np.ones(4, bool)) == 4


def test_the_networks_of_1997_have_their_numbers_of_weights():
    assert long_lags_online.number_of_weights("4") == 93
    assert long_lags_online.number_of_weights("6a") == 156


def test_errors_travel_inside_the_cells_alone():
    """Truncated gradient: ∂c_T/∂c_0 is exactly 1 for the same cell and 0 for the others."""
    cell = lstm_1997(2, 2, jnp.zeros(2))
    params, state, xs = problem(cell, batch=(), steps=20)
    jacobian = jax.jacobian(lambda c: unroll(cell, params, xs, state._replace(c=c))[0].c)(state.c)
    np.testing.assert_array_equal(jacobian, np.eye(4))


def test_the_cells_of_a_block_share_their_gates():
    cell = lstm_1997(2, 2, jnp.array([-3.0, -6.0]))
    params = cell.init(jax.random.key(0), 2)
    np.testing.assert_array_equal(params["b"][4:6], [-3, -6])
    assert np.abs(params["w"]).max() <= 0.1
    _, state, xs = problem(cell, batch=(), input_size=2)
    after, y = cell.step(params, state, xs[0])
    opened = after.units[4:]
    assert np.all((opened > 0) & (opened < 1))
    np.testing.assert_allclose(
        y, np.repeat(opened[2:], 2) * np.tanh(after.c / 2), rtol=1e-5, atol=1e-6
    )


def test_without_its_forget_gate_a_cell_forgets_nothing():
    cells = {gate: lstm_2000(lstm(3), forget_gate=gate) for gate in (True, False)}
    params, state, xs = problem(cells[True])
    params["b"][3:6] = 1e3  # f = 1
    for a, b in zip(*(unroll(c, params, xs, state)[1] for c in cells.values()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    params["b"][3:6] = -1e3
    kept, gone = (unroll(cells[gate], params, xs, state)[1] for gate in (False, True))
    assert np.abs(kept - gone).max() > 0.1


@pytest.mark.parametrize("name", some_cells(METHODS))
def test_every_method_makes_a_network(name):
    cell = METHODS[name].make(20, 30)
    params = cell.init(jax.random.key(0), 6)
    state, y = cell.step(params, cell.initial_state((2,)), jnp.ones((2, 6)))
    assert y.shape == (2, cell.output_size)
    assert jax.tree.structure(state) == jax.tree.structure(cell.initial_state((2,)))


def test_a_short_lag_is_learnt_and_the_row_says_when():
    setting = long_lags_training.Setting("temporal_order_2_bit", 10, 20, 20, 1200, 200, 1000, 2)
    row = long_lags_training.train(
        setting, METHODS["gru"]._replace(learning_rate=0.01), jax.random.key(0)
    )
    assert row["succeeded"] == 2
    for seed, updates in enumerate(row["updates_to_success"]):
        check = updates // row["check_every"]
        assert row["curve"][check - 1][seed] < 0.01
        assert all(measures[seed] >= 0.01 for measures in row["curve"][: check - 1])
    assert len(row["curve"]) * 200 == max(row["updates_to_success"])  # then it stopped


@pytest.mark.long
def test_nothing_is_learnt_after_a_stop(monkeypatch):
    monkeypatch.setattr(long_lags_online, "CHUNK", 30)
    experiment = long_lags_online.EXPERIMENTS["4"]._replace(length=20)
    start, advance, _ = (jax.jit(f) for f in long_lags_online.programs(experiment))
    begin, key = start(jax.random.key(0)), jax.random.key(1)
    whole, (errors, _) = advance(begin, key, 30)
    stopped, (frozen_errors, _) = advance(begin, key, 12)
    np.testing.assert_array_equal(frozen_errors[:13], errors[:13])  # the 13th shows what 12 taught
    assert np.all(frozen_errors[13:] != errors[13:])
    none, (untaught, _) = advance(begin, key, 0)
    assert untaught[0] == errors[0]
    for a, b, c, d in zip(*map(jax.tree.leaves, (begin, none, stopped, whole)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)
        assert np.any(c != d)


@pytest.mark.long
def test_stops_do_not_depend_on_the_other_seeds(monkeypatch):
    monkeypatch.setattr(long_lags_online, "CHUNK", 40)
    monkeypatch.setattr(long_lags_criteria, "WINDOW", 20)
    easy = long_lags_online.EXPERIMENTS["4"]._replace(
        length=20, mean_below=1.0, wrong=lambda answers, _: jnp.abs(answers[:, 0] - 0.5) > 0.03
    )
    monkeypatch.setitem(long_lags_online.EXPERIMENTS, "4", easy)
    row = long_lags_online.train("4", 3, 120, jax.random.key(1))
    assert row["most"] in (40, 80, 120)
    assert any(row["sequences"])
    for n, longest in zip(row["sequences"], row["longest_right"], strict=True):
        assert (n is not None) == (longest >= 20)
        assert n is None or 20 <= n <= row["most"]
    curve = np.array(row["curve"]).T  # after a stop there is nothing of a seed
    for n, values in zip(row["sequences"], curve, strict=True):
        chunks = len(values) if n is None else -(-n // 40)
        assert np.isfinite(values[:chunks]).all()
        assert np.isnan(values[chunks:]).all()


@pytest.mark.long
def test_a_tiny_study_end_to_end_and_again(tmp_path, capsys):
    tiny = long_lags.Config(
        methods="clip,omega", lengths="10", updates=4, seeds=2, workdir=str(tmp_path)
    )
    rows = long_lags.run(tiny)
    said = capsys.readouterr().out
    assert said.startswith("default: about ")
    assert "python -m experiments.long_lags --study=default" in said
    assert {row["seeds"] for row in rows.values()} == {2}
    for name in ("results.json", "table.txt", "success.png", "curves.png", "config.json"):
        assert (tmp_path / name).stat().st_size > 0
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()
    (tmp_path / "cells.jsonl").write_text(lines[0] + "\n")  # as if killed after the first unit
    again = long_lags.run(dataclasses.replace(tiny, resume=True))
    assert again == rows
    assert json.loads((tmp_path / "results.json").read_text())["results"] == rows


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"methods": "clip,adagrad"}, "unknown name 'adagrad' in --methods; choose from sgd, "),
        (
            {"lengths": "50,many"},
            "--lengths takes whole numbers of at least 1, separated by commas, got '50,many'",
        ),
        ({"lengths": "5"}, "temporal order needs a length of at least 10 steps, got 5"),
        ({"updates": -1}, "--updates must be an integer of at least 1, got -1"),
        ({"updates": 750}, "--updates of --study=default must be a multiple of 500, got 750"),
        ({"updates": 7, "study": "hs97"}, "--updates of --study=hs97 must be a multiple of 5000"),
        ({"updates": 7, "study": "reber"}, "--updates of --study=reber must be a multiple of 10"),
        ({"seeds": -2}, "--seeds must be an integer of at least 1, got -2"),
    ],
)
def test_bad_flags(flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        long_lags.Config(**flags)


def test_a_run_that_diverged_is_no_best_of_its_grid(tmp_path):
    """A loss that is not finite is null in the ledger."""

    def row(best):
        return {
            **{"updates_to_success": [None], "succeeded": 0, "seeds": 1},
            **{"best": best, "check_every": 1, "curve": [best] * 3},
        }

    rows = {"tanh, rate=1": row([None]), "tanh, rate=0.1": row([0.2])}
    lines = report.le(tmp_path, rows).splitlines()
    assert "diverged" in next(line for line in lines if "rate=1 " in line)
    assert next(line for line in lines if "rate=0.1" in line).startswith("*")


def test_success_and_error_of_the_grid_are_of_all_seeds(tmp_path):
    row = {"updates_to_success": [None, 94000, 70000], "best": [0.157, 0.017, 0.009]}
    row |= {"succeeded": 2, "seeds": 3, "check_every": 1, "curve": [[0.1] * 3] * 2}
    (line,) = [
        line
        for line in report.le(tmp_path, {"IRNN, rate=0.01": row}).splitlines()
        if "rate" in line
    ]
    assert line.split()[-3:] == ["0.017", "2/3", "(82,000)"]


def test_pascanu_is_quoted_beside_his_task_alone(tmp_path):
    row = {"updates_to_success": [None], "succeeded": 0, "seeds": 1, "T": 50, "check_every": 1}
    for task, quoted in (("temporal_order_2_bit", True), ("adding_hs97", False)):
        rows = {"clip, T=50": row | {"task": task, "curve": [[0.5]] * 2}}
        assert ("Pascanu" in report.lengths(tmp_path, rows)) == quoted


def test_the_first_success_of_each_seed_counts(monkeypatch):
    measures = iter([[0.5, 0.5, 0.5], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [np.nan, 0.0, 0.5]])

    def programs(setting, method, cell):
        return (lambda keys: None), lambda carry, keys: (carry, {"wrong": next(measures)})

    monkeypatch.setattr(long_lags_training, "programs", programs)
    setting = long_lags_training.Setting("temporal_order_2_bit", 10, 4, 2, 40, 10, 100, 3)
    row = long_lags_training.train(setting, METHODS["gru"], jax.random.key(0))
    assert row["updates_to_success"] == [20, 30, None]
    assert row["best"] == [0.0, 0.0, 0.5]
    took = row | {"updates_to_success": [1, 2, 30], "succeeded": 3}
    assert report.share(took) == "3/3 (2)"


def test_the_grid_of_adding_is_what_the_flags_say():
    plan = long_lags.Config(study="adding", cells="IRNN", rates="0.01", clips="1,10").plan()
    assert list(studies.le(plan)) == ["IRNN, rate=0.01, clip=1", "IRNN, rate=0.01, clip=10"]
    assert len(studies.le(long_lags.Config(study="adding").plan())) == 18
    with pytest.raises(InputError, match="unknown name 'relu' in --cells"):
        long_lags.Config(study="adding", cells="relu")
