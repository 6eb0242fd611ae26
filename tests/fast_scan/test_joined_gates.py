"""Functions of parts of an array made one function of all of it, and the forward pass that uses it."""

from functools import partial

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from seqjax import CELLS, unroll
from seqjax.fast_scan.jaxprs import flatten
from seqjax.fast_scan.joined_gates import join_gates
from tests.support.randomness import problem
from tests.support.tiers import some_cells


def cut_and_gated(a, b):
    """Slices and splits; functions of most of an array and of less than half, of both kinds."""
    i, f, g = jnp.split(a, 3, -1)
    small = jax.nn.sigmoid(b[..., :1]) + jax.nn.sigmoid(b[..., 3:4])
    t, u = jnp.tanh(b[..., :4]), jnp.tanh(b[..., 2:])
    return jax.nn.sigmoid(i) * g, jax.nn.sigmoid(f) + i, jnp.tanh(g), small, t[..., 2:] * u[..., :2]


def call(jaxpr):
    return jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, ()))


def test_joined_gates_are_the_same_function():
    with jax.enable_x64(True):
        args = tuple(np.random.default_rng(k).normal(size=(3, 6)) for k in range(2))
        flat, consts = flatten(jax.make_jaxpr(cut_and_gated)(*args))
        joined = join_gates(flat)
        names = [eqn.primitive.name for eqn in joined.eqns]
        assert (names.count("logistic"), names.count("tanh")) == (1 + 2, 1 + 1)
        for a, b in zip(cut_and_gated(*args), call(joined)(*consts, *args), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_functions_of_constants_and_weak_types_are_kept():
    def function(scale, a):
        i, f = jnp.split(a, 2)
        return jax.nn.sigmoid(2.0) * jax.nn.sigmoid(i) * scale, jax.nn.sigmoid(f), scale + 1

    args = 1.5, np.linspace(-1, 2, 4, dtype=np.float32)
    flat, _ = flatten(jax.make_jaxpr(function)(*args))
    joined = join_gates(flat)
    assert joined is not flat
    assert [v.aval for v in joined.outvars] == [v.aval for v in flat.outvars]
    for a, b in zip(function(*args), call(joined)(*args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_nothing_to_join_is_left_as_it_is():
    flat, _ = flatten(jax.make_jaxpr(lambda a: jnp.tanh(a) + jax.nn.sigmoid(a[:1]))(jnp.ones(3)))
    assert join_gates(flat) is flat


def loops(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            yield eqn.params["jaxpr"].jaxpr
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from loops(inner)


def products_in_the_loop(function, *args):
    return [
        str(loop).count("dot_general[") for loop in loops(jax.make_jaxpr(function)(*args).jaxpr)
    ]


@pytest.mark.parametrize("name", some_cells())
@pytest.mark.parametrize("batch", [(), (1,), (2,)])
def test_the_forward_pass_alone_equals_lax_scan(name, batch):
    cell = CELLS[name](3)
    ways = ({}, {"reverse": True}, {"keep": "blocks", "block": 3})

    @jax.jit
    def both(params, state, xs):
        step = partial(cell.step, params)
        return [
            (
                unroll(cell, params, xs, state, **way),
                lax.scan(step, state, xs, reverse=way.get("reverse", False)),
            )
            for way in ways
        ]

    with jax.enable_x64(True):
        for actual, expected in both(*problem(cell, steps=7, batch=batch, dtype=np.float64)):
            for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("batch", "expected"), [((), 1), ((1,), 1), ((4,), 2)])
def test_one_sequence_reads_its_input_weight_once(batch, expected):
    cell = CELLS["lstm"](3)
    params, state, xs = problem(cell, batch=batch)
    found = products_in_the_loop(lambda p, x: unroll(cell, p, x, state)[1], params, xs)
    assert found == [expected]
