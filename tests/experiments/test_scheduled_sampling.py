"""Scheduled sampling: its schedules, its closed form in the toy, and the program in small."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.scheduled_sampling import digits, toy
from experiments.scheduled_sampling.program import Config, run
from seqjax import InputError
from seqjax.training.scheduled_sampling import SCHEDULES, make_truth_schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_fall_from_one(name):
    p = np.asarray(make_truth_schedule(name, 1000)(jnp.arange(1001)))
    assert np.all((p >= 0) & (p <= 1))
    assert np.all(np.diff(p) <= 1e-6)
    start, middle, end = p[[0, 500, 1000]]
    assert start == pytest.approx(1, abs=0.02)
    if name == "constant":
        assert np.all(p == 1)
    if name == "linear":
        np.testing.assert_allclose(p, 1 - np.arange(1001) / 1000, atol=1e-6)
    if name == "exponential":
        assert end == pytest.approx(0.01, rel=1e-3)
    if name == "inverse_sigmoid":
        assert middle == pytest.approx(0.5, abs=0.01)
        assert end < 0.05


def test_the_papers_formulas():
    i = jnp.arange(0, 500, 50)
    exponential = make_truth_schedule("exponential", 10, speed=0.99)
    np.testing.assert_allclose(exponential(i), 0.99 ** np.asarray(i, float), rtol=1e-4)
    k = 30.0
    sigmoid = make_truth_schedule("inverse_sigmoid", 10, speed=k)
    wanted = k / (k + np.exp(np.asarray(i, float) / k))
    np.testing.assert_allclose(sigmoid(i), wanted, rtol=1e-4)
    assert float(sigmoid(10**6)) == 0  # without an overflow
    linear = make_truth_schedule("linear", 100, first=0.9, last=0.3)
    np.testing.assert_allclose(linear(jnp.array([0, 50, 100, 200])), [0.9, 0.6, 0.3, 0.3])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cubic", {}, "schedule must be one of constant, linear"),
        ("linear", {"last": 0.9, "first": 0.5}, "0 <= last <= first <= 1"),
        ("exponential", {"speed": 2.0}, "speed must lie between 0 and 1"),
        ("inverse_sigmoid", {"speed": 0.5}, "speed must be at least 1"),
    ],
)
def test_schedules_that_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        make_truth_schedule(name, 10, **options)


def test_the_closed_form_minimises_the_expected_loss():
    """By brute force: the loss over all x_1, all x_2 and whose x_1 is read."""
    for p in (0.0, 0.3, 1.0):

        def loss(logits, p=p):
            log_q = jax.nn.log_softmax(logits)  # a row for each x_1 that is read
            first, second = jnp.asarray(toy.FIRST), jnp.asarray(toy.SECOND)
            of_truth = (first[:, None] * second * log_q).sum()
            of_its_own = (first[:, None] * (first @ second) * log_q).sum()
            return -(p * of_truth + (1 - p) * of_its_own)

        with jax.enable_x64(True):
            best = jnp.log(jnp.asarray(toy.closed_form(p)))
            np.testing.assert_allclose(jax.grad(loss)(best), 0, atol=1e-12)


@pytest.mark.long
def test_the_program_measures_the_closed_form(tmp_path):
    small = {"seeds": 2, "toy_steps": 150, "digit_steps": 3, "schedules": "teacher forcing,linear"}
    config = Config(workdir=str(tmp_path / "run"), **small)
    results = run(config)
    for p, values in results["two_symbols"].items():
        np.testing.assert_allclose(np.mean(values, 0), toy.closed_form(float(p))[:, 1], atol=0.06)
    assert set(results["digits"]) == {"teacher forcing", "linear"}
    assert json.loads((tmp_path / "run" / "results.json").read_text())["results"] == results
    assert (tmp_path / "run" / "scheduled_sampling.png").exists()
    assert run(dataclasses.replace(config, resume=True)) == results


def test_what_a_writer_is_given():
    numbers = jnp.array([[1, 2, 3, 4]])
    assert digits.with_start(numbers).tolist() == [[digits.START, 4, 3, 2]]
    with pytest.raises(InputError, match="unknown name 'cubic' in --schedules"):
        Config(schedules="cubic")
