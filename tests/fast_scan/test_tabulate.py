"""Steps with their products of a token looked up in a table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import CELLS, stack
from seqjax.fast_scan.tabulate import tabulate
from seqjax.models import LanguageModel
from tests.support.randomness import randomise
from tests.support.tiers import some_cells

V, H, E = 7, 5, 3


def token_step(name, dtype):
    cell = stack(CELLS[name](H), CELLS[name](H))
    params = randomise(cell.init(jax.random.key(0), E), 1, dtype)
    embedding, head = randomise((np.zeros((V, E)), np.zeros((H, V))), 2, dtype)
    embedding, head = jnp.asarray(embedding), jnp.asarray(head)

    def step(state, token):
        state, y = cell.step(params, state, embedding[token])
        return state, y @ head

    return step, randomise(cell.initial_state(()), 3, dtype)


@pytest.mark.parametrize("name", some_cells())
def test_equals_the_step_for_every_token(name):
    with jax.enable_x64(True):
        step, state = token_step(name, np.float64)
        fast = tabulate(step, state, V)
        for token in range(V):
            expected, actual = step(state, jnp.int32(token)), fast(state, jnp.int32(token))
            assert jax.tree.structure(expected) == jax.tree.structure(actual)
            for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def products(step, state):
    jaxpr = jax.make_jaxpr(step)(state, jnp.int32(0))
    return str(jaxpr).count("dot_general[")


def test_one_product_less_per_step():
    """Of two layers' four products and the head's, the one of the embedding is in the table."""
    step, state = token_step("lstm", np.float32)
    assert products(step, state) == 5
    assert products(tabulate(step, state, V), state) == 4


def test_a_step_without_products_of_the_token_stays_as_it_is():
    def step(state, token):
        return state + token, jnp.full(V, state)

    assert tabulate(step, jnp.zeros(()), V) is step


@pytest.mark.parametrize("tie_weights", [False, True])
def test_a_models_step_is_its_call_on_one_token(tie_weights):
    cells = [CELLS["lstm"](4), CELLS["gru"](E)]
    model = LanguageModel(
        V, cells, embedding_size=E, dropout=0.5, tie_weights=tie_weights, rngs=nnx.Rngs(0)
    )
    state = randomise(model.initial_state(2), 3)
    tokens = jnp.array([4, 1])
    expected, logits = model(tokens[:, None], state)
    actual, step_logits = model.step(tokens, state)
    np.testing.assert_allclose(logits[:, 0], step_logits, rtol=1e-5, atol=1e-6)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
