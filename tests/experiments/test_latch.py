"""The latch: its equations in NumPy, its theory, and the program at a tiny size."""

import dataclasses
import json
import math
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.latch import guess as latch_guess
from experiments.latch import program as latch
from experiments.latch.report import PUBLISHED, half_point, worst
from experiments.latch.task import (
    FREE_STEPS,
    UNITS,
    Case,
    by_hand,
    fixed_point,
    flip_input,
    input_gradient,
    is_right,
    last_output,
    train,
    with_inputs,
)
from seqjax import InputError
from seqjax.runs.stopping import Stopped

TINY = latch.Config(
    lengths="5,10,9",
    unit_lengths="5",
    runs=10,
    updates=400,
    grid=2,
    grid_runs=4,
    max_guesses=300,
)


def problem(seed=0, length=9, n=3):
    """Parameters and noise, all random, in float64."""
    rng = np.random.default_rng(seed)
    params = {"unit": np.array(1.7), "h": rng.normal(size=(2, FREE_STEPS))}
    return params, 0.5 * rng.normal(size=(length, 2, n))


def loop(params, noise, length):
    """xₜ = tanh(w xₜ₋₁ + hₜ), one number at a time: all x `[length, 2, n]`."""
    xs = np.zeros((length, *noise.shape[1:]))
    for k in range(2):
        for i in range(noise.shape[2]):
            x = 0.0
            for t in range(length):
                h = params["h"][k, t] if t < FREE_STEPS else noise[t, k, i]
                x = math.tanh(params["unit"] * x + h)
                xs[t, k, i] = x
    return xs


@pytest.mark.parametrize("length", [1, 3, 4, 9])
def test_the_unit_is_the_equation_and_what_follows_the_end_changes_nothing(length):
    params, noise = problem()
    with jax.enable_x64(True):
        found = last_output(UNITS["paper"], params, jnp.asarray(noise), length)
    np.testing.assert_allclose(found, loop(params, noise, length)[-1], rtol=1e-12)


def test_the_gradient_of_the_first_input_is_the_product_of_the_steps():
    """∂x_T/∂h₁ = (1 - x₁²) Π_{t=2..T} w (1 - xₜ²)."""
    params, _ = problem()
    length = 9
    with jax.enable_x64(True):
        found = input_gradient(UNITS["paper"], params, length, max_length=12)
    xs = loop(params, np.zeros((length, 2, 1)), length)[:, :, 0]
    factors = 1 - xs**2
    factors[1:] *= params["unit"]
    np.testing.assert_allclose(found, np.abs(factors.prod(0)).mean(), rtol=1e-10)


@pytest.mark.parametrize("weights_trained", [True, False])
def test_training_is_gradient_descent_on_the_mean_square(weights_trained):
    """Against central differences of the loop; w stays where it is not trained."""
    params, noise = problem(length=7)
    case = Case("paper", weights_trained, per_class=3, learning_rate=0.3)
    with jax.enable_x64(True):
        one_step = train(UNITS["paper"], case, params, jnp.asarray(noise), 7, updates=1)

    def loss(vector):
        moved = {"unit": vector[0], "h": vector[1:].reshape(2, FREE_STEPS)}
        return 0.5 * np.mean((loop(moved, noise, 7)[-1] - np.array([[0.8], [-0.8]])) ** 2)

    start = np.concatenate([[params["unit"]], params["h"].ravel()])
    gradient = np.array([(loss(start + e) - loss(start - e)) / 2e-6 for e in 1e-6 * np.eye(7)])
    gradient[0] *= weights_trained
    expected = start - 0.3 * gradient
    np.testing.assert_allclose(one_step["unit"], expected[0], atol=1e-9)
    np.testing.assert_allclose(np.ravel(one_step["h"]), expected[1:], atol=1e-9)


@pytest.mark.parametrize("name", list(UNITS))
def test_every_unit_trains_all_of_its_parameters(name):
    unit = UNITS[name]
    params = {"unit": unit.init(jax.random.key(1), 1.25), "h": jnp.full((2, FREE_STEPS), 0.3)}
    noise = 0.2 * jax.random.normal(jax.random.key(2), (8, 2, 4))
    case = Case(name, True, per_class=4, learning_rate=0.1)
    after = train(unit, case, params, noise, 8, updates=3)
    for before, now in zip(jax.tree.leaves(params), jax.tree.leaves(after), strict=True):
        assert np.all(np.asarray(before) != np.asarray(now))


def test_a_weight_of_at_most_one_forgets_and_a_larger_one_latches():
    """w <= 1 has one attractor, 0; w > 1 has two, at the fixed points ±x*."""
    quiet = jnp.zeros((3000, 2, 1))
    for w in (0.5, 0.9, 1.0, 1.05, 1.25, 2.0):
        params = {"unit": jnp.asarray(w), "h": jnp.array([[3.0] * 3, [-3.0] * 3])}
        end = last_output(UNITS["paper"], params, quiet, 3000)[:, 0]
        if w < 1:
            np.testing.assert_allclose(end, 0, atol=1e-30)
        elif w == 1:  # the marginal case decays as √(3/2T)
            np.testing.assert_allclose(end, [0.0223, -0.0223], atol=5e-4)
        else:
            np.testing.assert_allclose(end, [fixed_point(w), -fixed_point(w)], atol=1e-5)
            assert fixed_point(w) > 0.1
    assert fixed_point(0.9) == fixed_point(1.0) == 0


@pytest.mark.parametrize("w", [1.25, 2.0])
def test_an_input_just_above_the_critical_one_flips_the_state(w):
    x = fixed_point(w)
    below, above = x, x
    for _ in range(20_000):
        below = math.tanh(w * below - 0.999 * flip_input(w))
        above = math.tanh(w * above - 1.001 * flip_input(w))
    assert above < 0 < below
    assert flip_input(1.25) == pytest.approx(0.0779, abs=1e-4)


def test_without_noise_what_was_set_by_hand_is_kept_for_ever():
    """... at every length; with w < 1 and strong noise it is chance, 2⁻¹⁶ a run."""
    case = Case("paper", True, per_class=8, learning_rate=0.05)
    keys = jax.random.split(jax.random.key(0), 20)
    kept = latch.compiled(partial(by_hand, case, max_length=60), 4)
    for length in (4, 20, 60):
        assert kept(keys, length, 1.25, 0.0)["success"].all()
    assert not kept(keys, 60, 0.5, 1.0)["success"].any()


def test_length_is_data_and_padding_does_not_matter():
    """The same noise in longer arrays gives the same network."""
    params, noise = problem(length=20)
    case = Case("paper", True, per_class=3, learning_rate=0.1)
    params, noise = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params, noise))
    long = train(UNITS["paper"], case, params, noise, 8, updates=20)
    short = train(UNITS["paper"], case, params, noise[:8], 8, updates=20)
    np.testing.assert_allclose(long["unit"], short["unit"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(long["h"], short["h"], rtol=1e-5, atol=1e-6)


def test_sequences_share_their_free_inputs_and_differ_in_noise():
    params, noise = problem()
    xs = np.asarray(with_inputs(jnp.asarray(params["h"]), jnp.asarray(noise)))
    for i in range(noise.shape[2]):
        np.testing.assert_allclose(xs[:FREE_STEPS, :, i].T, params["h"], rtol=1e-6)
    np.testing.assert_allclose(xs[FREE_STEPS:], noise[FREE_STEPS:], rtol=1e-6)
    assert is_right(jnp.array([[0.1, -0.1, 0.0], [-0.2, 0.2, 0.0]])).tolist() == [
        [True, False, False],
        [True, False, False],
    ]


def test_guessing_takes_one_over_p_guesses_and_gives_up():
    """Guesses until success are geometric: the median for p = 1/50 is ln 2 / p, about 34."""
    many = jax.jit(
        jax.vmap(
            lambda key, p: latch_guess.guess(jax.random.uniform, lambda u: u < p, key, 1000)[0],
            (0, None),
        )
    )
    keys = jax.random.split(jax.random.key(3), 2000)
    found = np.asarray(many(keys, 0.02))
    assert 30 < np.median(found) < 39
    assert 46 < found.mean() < 54
    assert not many(keys, 0.0).any()
    assert (np.asarray(many(keys, 1.1)) == 1).all()


def test_what_was_guessed_does_solve_the_task():
    key = jax.random.key(5)
    row = latch_guess.latch(key, 8, 0.0, per_class=2, limit=2.0, max_length=10, cap=2000)
    assert row["guesses"] > 0
    assert row["test_error"] == 0  # without noise, the test set is the training set


def test_report_reads_the_published_curve():
    assert half_point([10, 20, 30], [1.0, 0.75, 0.25]) == 25
    assert half_point([10, 20], [0.9, 0.4]) == pytest.approx(18)
    assert half_point([10, 20], [1.0, 0.8]) is None
    rows = [{"T": t, "success": p + 0.03 * (t == 30)} for t, p in PUBLISHED.items()]
    assert worst(rows) == (pytest.approx(0.03), 30)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny run from end to end, with one of the other units: `(its directory, its results)`."""
    workdir = tmp_path_factory.mktemp("latch") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latch, "UNIT_CASES", {"tanh": latch.UNIT_CASES["tanh"]})
        yield workdir, latch.run(dataclasses.replace(TINY, workdir=str(workdir)))


@pytest.mark.long
def test_the_program_end_to_end(whole):
    workdir, results = whole
    saved = json.loads((workdir / "results.json").read_text())
    assert saved["experiment"] == "latch"
    assert saved["results"] == json.loads(json.dumps(results))
    for name in ("length", "noise", "causes", "units"):
        assert (workdir / f"latch_{name}.png").stat().st_size > 10_000
    assert [row["T"] for row in results["curves"]["w trained"]] == [5, 9, 10]
    for rows in results["curves"].values():
        assert all(row["low"] <= row["success"] <= row["high"] for row in rows)
    low, high = results["grid"]
    assert (low["w0"], high["w0"]) == (0.5, 2.5)
    assert (low["noise"], high["noise"]) == ([0, 1], [0, 1])
    # What the theory says of the corners: easy, hopeless, and short lengths that anyone learns.
    assert high["success"][0] > low["success"][1]
    assert results["curves"]["w trained"][0]["success"] > 0.8
    assert results["curves"]["w trained"][0]["test_error"] < 0.1
    assert results["two_sequence"]["solved"] == results["two_sequence"]["runs"]
    assert results["two_sequence"]["test_error"] < 0.1
    assert "Fig. 2b, success at T=10" in (workdir / "table.txt").read_text()


@pytest.mark.long
def test_a_resumed_run_does_what_is_missing_and_finds_the_same(whole, tmp_path):
    workdir, results = whole
    rows = (workdir / "cells.jsonl").read_text().splitlines(keepends=True)
    kept = [row for row in rows if '"w fixed, T=9"' not in row]
    assert len(kept) == len(rows) - 1
    (tmp_path / "cells.jsonl").write_text("".join(kept) + rows[0][:20])  # cut off in a line
    (tmp_path / "config.json").write_text((workdir / "config.json").read_text())
    config = dataclasses.replace(TINY, workdir=str(tmp_path), resume=True)
    again = latch.run(config)
    assert json.dumps(again) == json.dumps(results)
    with pytest.raises(InputError, match="runs=10, got runs=5"):
        latch.run(dataclasses.replace(config, runs=5))


def test_a_signal_stops_after_the_unit_in_hand(tmp_path, monkeypatch):
    def compute(key):
        signal.raise_signal(signal.SIGTERM)
        return {"T": 5}

    monkeypatch.setattr(latch, "studies", lambda config: {"first": compute, "second": compute})
    with pytest.raises(Stopped, match="resume=True"):
        latch.run(dataclasses.replace(TINY, workdir=str(tmp_path / "run")))
    assert len((tmp_path / "run" / "cells.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lengths", ""),
        ("lengths", "10,ten"),
        ("lengths", "3,10"),
        ("unit_lengths", "-1"),
        ("runs", 0),
        ("updates", -1),
        ("grid", 1),
        ("grid_runs", 0),
        ("max_guesses", 0),
        ("noise", -0.1),
        ("noise", float("nan")),
    ],
)
def test_bad_flags_get_one_sentence_that_names_them(field, value):
    with pytest.raises(InputError, match=f"--{field}") as error:
        latch.Config(**{field: value})
    assert str(error.value).count("\n") == 0
