"""A small network in the arrays of a larger one computes what it would compute alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, unroll
from seqjax.search.sizes import hidden_mask, masked
from tests.support.randomness import problem
from tests.support.tiers import some_cells

SIZE, H, D = 6, 4, 3
NOT_NESTED = {  # as `seqjax.search.sizes` says
    *("lstm_layer_norm", "gru_layer_norm", "cayley_rnn", "householder_rnn", "urnn"),
    *("hgrn", "gla", "mlstm"),
}


def cut(params, name):
    """The parameters of the small network, out of the large one's arrays."""
    small = CELLS[name](H).init(jax.random.key(0), D)

    def leaf(large, small):
        for axis, n in enumerate(small.shape):
            if large.shape[axis] != n:
                blocks = np.split(large, large.shape[axis] // SIZE, axis)
                kept = [np.take(b, np.arange(H), axis) for b in blocks]
                large = np.concatenate(kept, axis)
        assert large.shape == small.shape
        return large

    return jax.tree.map(leaf, jax.tree.map(np.asarray, params), small)


@pytest.mark.parametrize("name", some_cells(n for n in CELLS if n not in NOT_NESTED))
def test_values_and_gradients_are_those_of_the_small_network(name):
    large, small = CELLS[name](SIZE), CELLS[name](H)
    params, _, xs = problem(large, steps=5, input_size=D)
    mask = hidden_mask(lambda n: CELLS[name](n).init(jax.random.key(0), D), SIZE, jnp.array(H))
    params = masked(params, mask)

    def loss(cell, params):
        _, ys = unroll(cell, params, xs)
        weights = jnp.cos(jnp.arange(H) + 1.0)
        return jnp.sum(ys[..., :H] * weights), ys

    value_and_grad = jax.jit(jax.value_and_grad(loss, 1, has_aux=True), static_argnums=0)
    (value, ys), grads = value_and_grad(large, params)
    (expected, _), small_grads = value_and_grad(small, cut(params, name))
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ys[..., H:], 0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        cut(masked(grads, mask), name),
        small_grads,
    )


def test_the_mask_keeps_as_many_weights_as_the_small_network_has():
    for name in ("lstm_fgr", "lstm_cifg", "gru"):
        large = CELLS[name](SIZE).init(jax.random.key(0), D)
        mask = hidden_mask(lambda n, c=CELLS[name]: c(n).init(jax.random.key(0), D), SIZE, H)
        kept = masked(jax.tree.map(jnp.ones_like, large), mask)
        count = sum(float(x.sum()) for x in jax.tree.leaves(kept))
        small = CELLS[name](H).init(jax.random.key(0), D)
        assert count == sum(x.size for x in jax.tree.leaves(small))


def test_the_size_may_be_traced():
    def kept(hidden_size):
        mask = hidden_mask(lambda n: {"w": jnp.ones((2, 3 * n))}, 4, hidden_size)
        return masked({"w": jnp.ones((2, 12))}, mask)["w"].sum(axis=0)

    found = jax.jit(jax.vmap(kept))(jnp.arange(5))
    for hidden_size, row in enumerate(found):
        one = [2.0] * hidden_size + [0.0] * (4 - hidden_size)
        np.testing.assert_array_equal(row, one * 3)


def test_what_is_masked_out_is_zero_whatever_it_was():
    params = {"w": jnp.array([1.0, jnp.inf, jnp.nan], jnp.bfloat16)}
    small = masked(params, {"w": jnp.array([1.0, 0.0, 0.0])})["w"]
    assert small.dtype == jnp.bfloat16
    assert small.tolist() == [1.0, 0.0, 0.0]
