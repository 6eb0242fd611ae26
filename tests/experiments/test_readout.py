"""The readout, its losses and its scores against NumPy."""

import jax.numpy as jnp
import numpy as np

from experiments.common.readout import (
    Readout,
    accuracy,
    cross_entropy,
    last_outputs,
    squared_errors,
    weighted_mean,
)

RNG = np.random.default_rng(0)
T, B, H, C = 5, 3, 4, 6


def test_answers_are_a_linear_layer():
    readout = Readout(RNG.normal(size=(H, C)), RNG.normal(size=C))
    ys = RNG.normal(size=(T, B, H))
    expected = np.einsum("tbh,hc->tbc", ys, readout.w) + readout.b
    np.testing.assert_allclose(readout.answers(ys), expected, rtol=1e-6)


def test_the_last_output_is_that_of_each_row():
    ys = RNG.normal(size=(T, B, H)).astype("f")
    np.testing.assert_array_equal(last_outputs(ys), ys[-1])
    lengths = np.array([5, 1, 3])
    expected = [ys[4, 0], ys[0, 1], ys[2, 2]]
    np.testing.assert_array_equal(last_outputs(jnp.asarray(ys), lengths), expected)


def test_losses_and_scores_count_where_weights_are_one():
    logits = RNG.normal(size=(T, B, C))
    targets = RNG.integers(C, size=(T, B))
    targets[0, 0] = logits[0, 0].argmax()  # one right answer at least
    weights = np.zeros((T, B))
    weights[0, 0] = weights[2, 1] = weights[4, 2] = 1
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    nats = [-np.log(p[t, b, targets[t, b]]) for t, b in np.argwhere(weights)]
    right = [logits[t, b].argmax() == targets[t, b] for t, b in np.argwhere(weights)]
    np.testing.assert_allclose(cross_entropy(logits, targets, weights), np.mean(nats), rtol=1e-5)
    np.testing.assert_allclose(accuracy(logits, targets, weights), np.mean(right), rtol=1e-6)
    assert cross_entropy(logits, targets, 0 * weights) == 0


def test_errors_of_numbers():
    answers, targets = RNG.normal(size=(B, 1)), RNG.normal(size=B)
    errors = squared_errors(answers, targets)
    np.testing.assert_allclose(errors, (answers[:, 0] - targets) ** 2, rtol=1e-6)
    np.testing.assert_allclose(
        weighted_mean(errors, np.array([0, 1, 1])), errors[1:].mean(), rtol=1e-6
    )
