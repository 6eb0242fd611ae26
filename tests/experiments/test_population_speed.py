"""The benchmark's ways do the same work."""

import re

import jax
import numpy as np
import pytest

from experiments.population_speed import network
from experiments.population_speed import program as speed
from experiments.population_speed.products import products_of
from seqjax import InputError


def test_the_two_losses_and_gradients_are_equal():
    params = network.first_weights(5, jax.random.key(0))
    rng = np.random.default_rng(0)
    xs, ys = (rng.random((2, 6, 3, 88)) < 0.2).astype(np.float32)
    both = [
        jax.value_and_grad(lambda p, r=run: network.loss_of(r, p, xs, ys))(params)
        for run in (network.by_seqjax(5), network.by_scan(5))
    ]
    for a, b in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_products_have_the_shapes_of_the_gradients_and_none_is_left_out():
    params = network.first_weights(5, jax.random.key(0))
    xs, ys = np.random.default_rng(0).random((2, 6, 3, 88), np.float32)
    found = products_of(params, xs, ys)
    grads = network.gradients_by(network.by_scan(5))(params, xs, ys)
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, grads)
    program = jax.jit(products_of).lower(params, xs, ys).compile().as_text()
    assert len(re.findall(r" while\(", program)) == 2  # forward and backward in time
    assert len(re.findall(r" dot\(", program)) == 8  # an LSTM's five, the output layer's three


@pytest.mark.long
def test_a_small_run(tmp_path):
    config = speed.Config(
        members="3", hidden="4", batches="2", steps=5, updates=2, turns=1, workdir=str(tmp_path)
    )
    rows = speed.run(config)["rows"]
    assert [row["members"] for row in rows] == [3]
    assert all(ratio > 0 for row in rows for ratio in row["ratios"].values())
    assert (tmp_path / "population_speed.png").stat().st_size > 5000
    assert "x loop" in (tmp_path / "table.txt").read_text()


@pytest.mark.parametrize("text", ["", "0", "a", "4,,5", "-1"])
def test_wrong_lists(text):
    with pytest.raises(InputError, match="--members takes whole numbers"):
        speed.Config(members=text)
