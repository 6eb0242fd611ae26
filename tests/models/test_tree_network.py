"""The tree network: its parts, its dropout, its vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import InputError
from seqjax.models import TreeNetwork
from seqjax.recurrence.tree import schedule
from seqjax.training.modules import split_model
from seqjax.tree_cells import TREE_CELLS
from tests.support import tree_reference
from tests.support.randomness import randomise
from tests.support.trees import is_leaf, random_tree

V, D, C = 11, 4, 3


def make(name="tree_lstm", **kwargs):
    """A model whose every parameter is random, and the parameters as NumPy arrays."""
    model = TreeNetwork(V, TREE_CELLS[name](4), C, embedding_size=D, rngs=nnx.Rngs(0), **kwargs)
    graphdef, params, *_ = split_model(model)
    params = randomise(params, 1)
    return nnx.merge(graphdef, params), params


def batch(seed=2, counts=(5, 3, 1)):
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, n) for n in counts]
    placed = schedule(trees, width=2, leaves=12)
    tokens = np.full(12, -1, np.int32)
    leaves = np.concatenate([is_leaf(t) for t in trees])
    tokens[placed.slots[leaves]] = rng.integers(V, size=leaves.sum())
    return trees, placed, tokens


@pytest.mark.parametrize("name", TREE_CELLS)
def test_equals_its_parts(name):
    model, params = make(name)
    trees, placed, tokens = batch()
    logits = model(jnp.asarray(tokens), placed.schedule)[placed.slots]
    start = 0
    for tree in trees:
        slots = placed.slots[start : start + len(tree)]
        inputs = {
            n: params["embedding"]["embedding"][tokens[slots[n]]]
            for n in range(len(tree))
            if is_leaf(tree)[n]
        }
        states = tree_reference.compose(
            tree_reference.TREE_REFERENCES[name], params["params"], tree, inputs
        )
        for node in range(len(tree)):
            expected = states[node]["h"] @ params["head"]["kernel"] + params["head"]["bias"]
            np.testing.assert_allclose(logits[start + node], expected, rtol=1e-4, atol=1e-5)
        start += len(tree)


def test_inner_nodes_may_have_words():
    """A word at an inner node changes its ancestors, and a node without one is as before."""
    model, _ = make("child_sum")
    _, placed, tokens = batch(counts=(4,))
    live = placed.schedule.live
    everywhere = np.full(len(live), -1, np.int32)
    everywhere[: len(tokens)] = tokens
    without = model(jnp.asarray(tokens), placed.schedule)
    again = model(jnp.asarray(everywhere), placed.schedule)
    np.testing.assert_allclose(again[live], without[live], rtol=1e-4, atol=1e-6)
    everywhere[placed.roots[0]] = 3
    changed = np.abs(model(jnp.asarray(everywhere), placed.schedule) - without) > 1e-3
    assert np.flatnonzero(changed.any(1) & live).tolist() == placed.roots.tolist()


def test_dropout_needs_a_key_and_keeps_the_mean():
    model, _ = make("tree_lstm", dropout=0.5)
    _, placed, tokens = batch()
    tokens = jnp.asarray(tokens)
    plain = model(tokens, placed.schedule)
    np.testing.assert_array_equal(plain, model(tokens, placed.schedule))
    keys = jax.random.split(jax.random.key(3), 3000)
    noisy = jax.jit(jax.vmap(lambda k: model(tokens, placed.schedule, dropout_key=k)))(keys)
    assert np.any(noisy[0] != noisy[1])
    # The classifier is linear: the mean over masks is the value without any.
    np.testing.assert_allclose(noisy.mean(0), plain, atol=0.1)
    only_inputs, _ = make("tree_lstm", input_dropout=0.5)
    again = only_inputs(tokens, placed.schedule, dropout_key=keys[0])
    assert np.any(np.abs(again - plain)[placed.schedule.live] > 1e-3)


def test_vectors_are_where_training_begins():
    vectors = np.random.default_rng(4).normal(size=(V, D)).astype(np.float32)
    model = TreeNetwork(
        V, TREE_CELLS["rnn"](D), C, embedding_size=D, vectors=vectors, rngs=nnx.Rngs(0)
    )
    np.testing.assert_array_equal(model.embedding.embedding.get_value(), vectors)
    with pytest.raises(InputError, match=r"vectors must have the shape \(11, 4\), got \(4, 11\)"):
        TreeNetwork(
            V, TREE_CELLS["rnn"](D), C, embedding_size=D, vectors=vectors.T, rngs=nnx.Rngs(0)
        )
    with pytest.raises(InputError, match=r"dropout must lie in \[0, 1\)"):
        make("rnn", dropout=1.0)
