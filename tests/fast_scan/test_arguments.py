"""What `scan` takes as `lax.scan` does: Python's numbers, no inputs, functions among parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from seqjax import InputError, explain, lstm, scan, unroll
from seqjax.types import Cell

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.normal(size=(4, 5)), "u": 0.5 * RNG.normal(size=(5, 5))}
STATE, XS = RNG.normal(size=(3, 5)), RNG.normal(size=(6, 3, 4))


def step(p, h, x):
    h = jnp.tanh(x @ p["w"] + h @ p["u"])
    return h, h


def loss(scanner, step, params, state, xs, *length, **way):
    state, ys = scanner(step, params, state, xs, *length, **way)
    floats = [a for a in jax.tree.leaves((state, ys)) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return sum(jnp.sum(jnp.sin(a)) for a in floats)


def plain(step, params, state, xs, length=None):
    return lax.scan(partial(step, params), state, xs, length)


def assert_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_state_of_pythons_numbers_is_promoted_as_lax_scan_promotes_it():
    def counting(p, state, x):
        h, total, count = state
        h, y = step(p, h, x)
        return (h, total + jnp.sum(y), count + 1.5), (y, total)

    with jax.enable_x64(True):
        for start in ((STATE, 0, 0), (STATE, 0.0, 0), (STATE, 0, 2.0)):
            assert_equal(scan(counting, PARAMS, start, XS), plain(counting, PARAMS, start, XS))
            ours = jax.grad(partial(loss, scan, counting))(PARAMS, start, XS)
            assert_equal(ours, jax.grad(partial(loss, plain, counting))(PARAMS, start, XS))
            assert "deferred" in explain(counting, PARAMS, start, XS[0])


@pytest.mark.parametrize(
    "way", [{}, {"keep": "blocks"}, {"keep": "blocks", "block": 4}, {"block": 2}]
)
def test_keep_and_block_hold_without_inputs(way):
    def alone(p, h, x):
        assert x is None
        h = jnp.tanh(h @ p["u"] + 0.1)
        return h, h

    with jax.enable_x64(True):
        ours = partial(loss, scan, alone, xs=None, length=6, **way)
        theirs = partial(loss, plain, alone, xs=None, length=6)
        assert_equal(jax.grad(ours, (0, 1))(PARAMS, STATE), jax.grad(theirs, (0, 1))(PARAMS, STATE))
        text = str(jax.make_jaxpr(jax.grad(ours, (0, 1)))(PARAMS, STATE))
    assert text.count("custom_vjp") == 0
    if way.get("block"):
        assert "length=6" not in text  # the loop is cut


def test_functions_among_the_parameters_are_the_steps():
    def active(p, h, x):
        h = p["activation"](x @ p["w"] + h @ p["u"])
        return h, h

    params = {**PARAMS, "activation": jnp.tanh, "name": "a cell"}
    with jax.enable_x64(True):
        assert_equal(scan(active, params, STATE, XS), plain(step, PARAMS, STATE, XS))
        arrays = lambda p: {**params, **p}  # noqa: E731
        ours = jax.grad(lambda p: loss(scan, active, arrays(p), STATE, XS))(PARAMS)
        assert_equal(ours, jax.grad(lambda p: loss(plain, step, p, STATE, XS))(PARAMS))
        assert "deferred" in explain(active, params, STATE, XS[0])
        cell = Cell(lambda key, size: params, lambda batch: jnp.zeros((*batch, 5)), active, 5)
        assert_equal(unroll(cell, params, XS, STATE), plain(step, PARAMS, STATE, XS))


@pytest.mark.parametrize("way", [{}, {"keep": "products"}, {"block": 2}])
def test_integer_operands_of_a_products_with_a_float_weight(way):
    """A quantised state: the product has a gradient for its weight, none for the integers."""

    def product(a, w):
        axes = (((a.ndim - 1,), (0,)), ((), ()))
        return lax.dot_general(a, w, axes, preferred_element_type=w.dtype)

    def quantised(p, h, x):
        z = product(jnp.round(9 * h).astype(jnp.int8), p["u"]) + h @ p["u"]
        h = jnp.tanh(z + product(jnp.round(9 * x).astype(jnp.int8), p["w"]))
        return h, h

    with jax.enable_x64(True):
        ours = jax.grad(partial(loss, scan, quantised, **way), (0, 1, 2))(PARAMS, STATE, XS)
        theirs = jax.grad(partial(loss, plain, quantised), (0, 1, 2))(PARAMS, STATE, XS)
        assert_equal(ours, theirs)


def test_what_is_written_as_for_lax_scan_is_told_how_to_be_written():
    def step(state, x):
        return state + x, state

    with pytest.raises(InputError, match=r"write scan\(lambda params, state, x: f\(state, x\)"):
        scan(step, jnp.zeros(3), jnp.ones((5, 3)))
    final, _ = scan(lambda params, state, x: step(state, x), (), jnp.zeros(3), jnp.ones((5, 3)))
    np.testing.assert_array_equal(final, 5)


def test_forward_mode_is_told_how_to_be_asked_for():
    cell = lstm(3)
    params = cell.init(jax.random.key(0), 3)

    def last(params, **how):
        return unroll(cell, params, jnp.ones((4, 2, 3)), **how)[1][-1]

    with pytest.raises(InputError, match="give forward_mode=True"):
        jax.jacfwd(last)(params)
    forward = jax.jacfwd(partial(last, forward_mode=True))(params)
    backward = jax.jacrev(last)(params)
    for a, b in zip(jax.tree.leaves(forward), jax.tree.leaves(backward), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
