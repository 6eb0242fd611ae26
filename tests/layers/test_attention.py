"""Attention against its equations in NumPy, and nothing of the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import InputError
from seqjax.layers.attention import SCORES, Attention, attend
from tests.support.randomness import randomise

B, S, Q, M = 3, 5, 4, 4
LENGTHS = np.array([5, 2, 3])


def problem(score, seed=0):
    attention = Attention(score, Q, M, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(attention)
    attention = nnx.merge(graphdef, randomise(state, seed))
    random = np.random.default_rng(seed)
    return attention, random.normal(size=(B, S, M)), random.normal(size=(B, Q))


def reference(attention, values, query, length):
    """The equations of the module's docstring, in float64, for one row."""
    p = {name: np.asarray(value, np.float64) for name, value in attention.arrays().items()}
    keys = values
    if attention.keys is not None:
        keys = values @ np.asarray(attention.keys.kernel, np.float64)
        if attention.keys.bias is not None:
            keys = keys + np.asarray(attention.keys.bias, np.float64)
    scores = [
        p["score"] @ np.tanh(query @ p["query"] + key) if p else query @ key
        for key in keys[:length]
    ]
    shares = np.exp(np.array(scores) - max(scores))
    weights = shares / shares.sum()
    return weights @ values[:length], weights


@pytest.mark.parametrize("score", SCORES)
def test_it_is_its_equations(score):
    attention, values, query = problem(score)
    memory = attention.memory(jnp.asarray(values, jnp.float32), jnp.asarray(LENGTHS))
    read, weights = attend(attention.arrays(), jnp.asarray(query, jnp.float32), memory)
    for row, length in enumerate(LENGTHS):
        wanted = reference(attention, values[row], query[row], length)
        np.testing.assert_allclose(read[row], wanted[0], rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(weights[row, :length], wanted[1], rtol=2e-4, atol=1e-6)
        assert np.all(weights[row, length:] == 0)  # exactly
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_padding_changes_neither_values_nor_gradients(score):
    attention, values, query = problem(score)
    query = jnp.asarray(query, jnp.float32)
    graphdef, state = nnx.split(attention)

    def loss(state, query, values, lengths):
        layer = nnx.merge(graphdef, state)
        read, _ = attend(layer.arrays(), query, layer.memory(values, lengths))
        return jnp.sum(read * jnp.arange(1.0, M + 1))

    lengths = jnp.array([3, 2, 1])
    short = jnp.asarray(values[:, :3], jnp.float32)
    wider = jnp.full((B, S + 7, M), jnp.nan)
    for row, length in enumerate(lengths):
        wider = wider.at[row, :length].set(short[row, :length])
    found = jax.value_and_grad(loss, (0, 1))(state, query, short, lengths)
    padded = jax.value_and_grad(loss, (0, 1))(state, query, wider, lengths)
    for a, b in zip(*map(jax.tree.leaves, (found, padded)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("score", SCORES)
def test_of_an_empty_memory_nothing_is_read(score):
    attention, values, query = problem(score)

    def read(query):
        memory = attention.memory(jnp.asarray(values, jnp.float32), jnp.array([5, 0, 3]))
        return attend(attention.arrays(), query, memory)[0]

    query = jnp.asarray(query, jnp.float32)
    assert np.all(read(query)[1] == 0)
    assert np.all(np.isfinite(jax.jacrev(read)(query)))


def test_what_it_refuses():
    with pytest.raises(InputError, match="attention must be one of additive, dot, general"):
        Attention("sum", 3, 3, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="vectors of one size, got queries of 3 and a memory of 6"):
        Attention("dot", 3, 6, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="size is of an additive score: leave it out"):
        Attention("general", 4, 6, size=3, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="size must be an integer of at least 1"):
        Attention("additive", 4, 6, size=-3, rngs=nnx.Rngs(0))


def test_a_dot_product_draws_nothing():
    rngs = nnx.Rngs(0)
    Attention("dot", 4, 4, rngs=rngs)
    np.testing.assert_array_equal(
        jax.random.key_data(rngs.params()), jax.random.key_data(nnx.Rngs(0).params())
    )
