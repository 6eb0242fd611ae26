"""`jax.export` with a batch and a number of steps that are symbols."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from seqjax import InputError, lstm, unroll, unroll_truncated
from tests.support.randomness import problem
from tests.support.tiers import long_only

CELL = lstm(3)


def inference(unroller, params, xs, lengths):
    state, ys = unroller(CELL, params, xs, lengths=lengths)
    return tuple(state), ys


def gradients(unroller, params, xs, lengths):
    def loss(params, xs):
        state, ys = unroller(CELL, params, xs, lengths=lengths)
        return jnp.sum(ys**2) + jnp.sum(state.c)

    return jax.grad(loss, (0, 1))(params, xs)


@pytest.mark.parametrize("function", [inference, gradients])
@pytest.mark.parametrize(
    "unroller",
    [
        unroll,
        long_only(partial(unroll, keep="blocks")),
        long_only(partial(unroll, reverse=True)),
        partial(unroll_truncated, chunk_length=2),
    ],
)
def test_batch_and_time_may_be_symbols(function, unroller):
    steps, batch = export.symbolic_shape("t, b")
    params, _, xs = problem(CELL, steps=6, batch=(2,))
    run = partial(function, unroller)
    shapes = (
        jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params),
        jax.ShapeDtypeStruct((steps, batch, 4), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    exported = export.export(jax.jit(run))(*shapes)
    again = export.deserialize(exported.serialize())
    args = (params, xs, np.array([6, 3], np.int32))
    for a, b in zip(jax.tree.leaves(again.call(*args)), jax.tree.leaves(run(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_one_sequence_of_any_length():
    (steps,) = export.symbolic_shape("t")
    params, state, xs = problem(CELL, steps=6, batch=())
    run = lambda p, x: unroll(CELL, p, x, state)[1]  # noqa: E731
    shape = jax.ShapeDtypeStruct((steps, 4), jnp.float32)
    exported = export.export(jax.jit(run))(params, shape)
    np.testing.assert_allclose(exported.call(params, xs), run(params, xs), rtol=1e-5, atol=1e-5)


def test_blocks_of_an_unknown_number_of_steps_are_refused():
    (steps,) = export.symbolic_shape("t")
    params, state, _ = problem(CELL, batch=())
    run = jax.jit(lambda p, x: unroll(CELL, p, x, state, block=2)[1])
    with pytest.raises(InputError, match="block needs a known number of steps"):
        export.export(run)(params, jax.ShapeDtypeStruct((steps, 4), jnp.float32))


def test_the_length_is_given_only_where_there_are_no_inputs(monkeypatch):
    """Converters to other formats know the loop over arrays, and not every argument."""
    params, state, xs = problem(CELL)
    given, original = [], lax.scan

    def noted(f, init, xs=None, length=None, **kwargs):
        given.append(length)
        return original(f, init, xs, length, **kwargs)

    monkeypatch.setattr(lax, "scan", noted)
    jax.make_jaxpr(jax.grad(lambda p: jnp.sum(unroll(CELL, p, xs, state)[1])))(params)
    jax.make_jaxpr(lambda p: unroll(CELL, p, xs, state)[1])(params)
    assert given
    assert set(given) == {None}
