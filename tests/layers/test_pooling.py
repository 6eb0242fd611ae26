"""Pooling: over a row's own steps, whatever stands past them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError
from seqjax.layers.pooling import POOLINGS, last

B, T, H = 5, 7, 4
LENGTHS = np.array([7, 3, 1, 0, 5])
BY_HAND = {
    "last": lambda row: row[-1],
    "mean": lambda row: row.mean(0),
    "max": lambda row: row.max(0),
}


def features(seed=0):
    """All below zero, so that a zero of the padding would win."""
    return -1 - np.random.default_rng(seed).random((B, T, H)).astype(np.float32)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("padding", [0.0, 1e9, -np.inf, np.nan])
def test_padding_never_wins_counts_or_reaches_a_gradient(name, padding):
    clean = features()
    ys = np.where((np.arange(T) < LENGTHS[:, None])[..., None], clean, padding)
    pool = POOLINGS[name]
    pooled = pool(jnp.asarray(ys), LENGTHS)
    for row, length in enumerate(LENGTHS):
        wanted = BY_HAND[name](clean[row, :length]) if length else np.zeros(H)
        np.testing.assert_allclose(pooled[row], wanted, rtol=1e-6)
    gradient = jax.grad(lambda ys: jnp.sum(jnp.sin(pool(ys, LENGTHS))))(jnp.asarray(ys))
    assert np.all(np.isfinite(gradient))
    assert not np.any(np.asarray(gradient)[np.arange(T) >= LENGTHS[:, None]])
    assert np.all(np.any(np.asarray(gradient)[LENGTHS > 0] != 0, (1, 2)))


@pytest.mark.parametrize("name", POOLINGS)
def test_without_lengths_every_step_counts(name):
    ys = features()
    np.testing.assert_allclose(
        POOLINGS[name](jnp.asarray(ys)), [BY_HAND[name](row) for row in ys], rtol=1e-6
    )


def test_the_last_step_of_what_reads_backward_is_the_first():
    ys = features()
    backward = np.array([False, True, False, True])
    pooled = last(jnp.asarray(ys), LENGTHS, backward=backward)
    for row, length in enumerate(LENGTHS):
        if length:
            np.testing.assert_array_equal(pooled[row, ~backward], ys[row, length - 1, ~backward])
            np.testing.assert_array_equal(pooled[row, backward], ys[row, 0, backward])


@pytest.mark.parametrize("name", POOLINGS)
def test_a_length_above_t_counts_as_t(name):
    ys = jnp.asarray(features())
    np.testing.assert_array_equal(POOLINGS[name](ys, np.full(B, T + 9)), POOLINGS[name](ys))


def test_the_mean_of_many_half_precision_numbers_is_near_them():
    for dtype in (jnp.float16, jnp.bfloat16):
        ys = jnp.full((1, 3000, 1), 100.0, dtype)
        assert POOLINGS["mean"](ys).dtype == dtype
        np.testing.assert_allclose(POOLINGS["mean"](ys).astype(jnp.float32), 100, rtol=1e-2)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lengths", [np.ones(4, int), np.ones(B), np.ones((B, 1), int)])
def test_lengths_that_do_not_fit(name, lengths):
    with pytest.raises(InputError, match=r"lengths must be integers of shape \(5,\)"):
        POOLINGS[name](jnp.asarray(features()), lengths)
