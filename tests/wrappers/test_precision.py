"""Low-precision products: rounded operands, nothing else changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from seqjax import CELLS, low_precision_products, rnn_linear, unroll
from tests.support.randomness import problem
from tests.support.tiers import some_cells


def rounded(a):
    return np.asarray(jnp.asarray(a, jnp.bfloat16).astype(jnp.float32))


def test_operands_are_rounded_and_sums_are_not():
    cell = low_precision_products(rnn_linear(4))
    params, state, xs = problem(cell, steps=1)
    final_state, _ = unroll(cell, params, xs, state)
    expected = (
        rounded(xs[0]).astype(np.float64) @ rounded(params["w"])
        + rounded(state.h).astype(np.float64) @ rounded(params["u"])
        + params["b"]
    )
    np.testing.assert_allclose(final_state.h, expected, rtol=1e-5, atol=1e-6)
    exact = xs[0] @ params["w"] + state.h @ params["u"] + params["b"]
    assert np.abs(final_state.h - exact).max() > 1e-4


@pytest.mark.parametrize("name", some_cells())
def test_stays_near_the_float64_result(name):
    """bfloat16 has 8 significant bits: relative errors of some 2^-8 per operand."""
    cell = CELLS[name](8)
    params, state, xs = problem(cell, steps=6)

    def loss(cell, params, xs, state):
        return jnp.mean(unroll(cell, params, xs, state)[1] ** 2)

    gradient = jax.jit(jax.grad(loss, 1), static_argnums=0)
    low = gradient(low_precision_products(cell), params, xs, state)
    with jax.enable_x64(True):
        wide = [jax.tree.map(lambda a: np.asarray(a, np.float64), t) for t in (params, xs, state)]
        exact = gradient(cell, *wide)
    for key in exact:
        assert low[key].dtype == jnp.float32
        wide = np.asarray(exact[key])
        error = np.linalg.norm(np.asarray(low[key]) - wide) / np.linalg.norm(wide)
        assert 1e-6 < error < 0.05, (key, error)


def test_float64_products_are_the_cell_itself():
    with jax.enable_x64(True):
        cell = CELLS["gru"](3)
        params, state, xs = problem(cell, dtype=np.float64)
        wide = low_precision_products(cell, jnp.float64)
        np.testing.assert_array_equal(
            unroll(wide, params, xs, state)[1], unroll(cell, params, xs, state)[1]
        )
        outputs = jax.jit(lambda p: unroll(wide, p, xs, state)[1])
        check_grads(outputs, (params,), order=1, modes=["rev"])
