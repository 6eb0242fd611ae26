"""One conformance suite over `CELLS`: a new row is tested by that alone."""

import inspect
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import seqjax
from seqjax import CELLS, InputError, unroll, unroll_loop
from tests.support.randomness import problem
from tests.support.reference import REFERENCES

pytestmark = pytest.mark.usefixtures("strict_promotion")

H, D = 3, 4


@pytest.fixture(params=CELLS)
def name(request):
    return request.param


@pytest.fixture
def cell(name):
    return CELLS[name](H)


def assert_trees_close(actual, desired, rtol, atol=0.0):
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def test_equals_its_equations_in_numpy_float64(name, cell):
    with jax.enable_x64(True):
        params, state, xs = problem(cell, steps=6, batch=(2,), dtype=np.float64)
        final_state, ys = jax.jit(lambda *a: unroll(cell, *a))(params, xs, state)
    for row in range(2):
        expected = {k: np.asarray(v[row]) for k, v in state._asdict().items()}
        for t in range(len(xs)):
            expected, y = REFERENCES[name](params, expected, xs[t, row])
            np.testing.assert_allclose(ys[t, row], y, rtol=1e-12, atol=1e-13)
        for field, value in expected.items():
            actual = getattr(final_state, field)[row]
            np.testing.assert_allclose(actual, value, rtol=1e-12, atol=1e-13)


def test_gradients_equal_finite_differences(cell):
    with jax.enable_x64(True):
        params, state, xs = problem(cell, steps=4, batch=(2,), dtype=np.float64)

        def outputs(params, state, xs):
            return unroll(cell, params, xs, state)

        check_grads(
            outputs, (params, state, xs), order=1, modes=["rev"], atol=1e-7, rtol=1e-6, eps=1e-5
        )


def test_every_parameter_gets_a_gradient(cell):
    params, state, xs = problem(cell)
    grads = jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, state)[1] ** 2))(params)
    for path, leaf in jax.tree.leaves_with_path(grads):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf != 0), path


def test_scan_equals_loop(cell):
    params, state, xs = problem(cell)
    for reverse in (False, True):
        for lengths in (None, np.array([5, 0, 2])):
            scan = unroll(cell, params, xs, state, lengths=lengths, reverse=reverse)
            loop = unroll_loop(cell, params, xs, state, lengths=lengths, reverse=reverse)
            assert_trees_close(scan, loop, rtol=1e-5, atol=1e-6)


def test_batch_equals_rows_one_by_one(cell):
    params, state, xs = problem(cell, batch=(2, 3))
    final_state, ys = unroll(cell, params, xs, state)
    for row in np.ndindex(2, 3):
        row_state = jax.tree.map(lambda s, row=row: s[row], state)
        row_final, row_ys = unroll(cell, params, xs[:, *row], row_state)
        np.testing.assert_allclose(ys[:, *row], row_ys, rtol=1e-5, atol=1e-6)
        assert_trees_close(
            jax.tree.map(lambda s, row=row: s[row], final_state), row_final, rtol=1e-5, atol=1e-6
        )


def test_vmap_equals_batch(cell):
    params, state, xs = problem(cell)
    mapped = jax.vmap(lambda s, x: unroll(cell, params, x, s), (0, 1), (0, 1))(state, xs)
    assert_trees_close(mapped, unroll(cell, params, xs, state), rtol=1e-5, atol=1e-6)


def test_streaming_equals_the_whole_sequence(cell):
    params, state, xs = problem(cell)
    step = jax.jit(cell.step)
    streamed = []
    stream_state = state
    for x in xs:
        stream_state, y = step(params, stream_state, x)
        streamed.append(y)
    final_state, ys = unroll(cell, params, xs, state)
    np.testing.assert_allclose(np.stack(streamed), ys, rtol=1e-5, atol=1e-6)
    assert_trees_close(stream_state, final_state, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_keeps_the_dtype_and_structure_of_its_inputs(cell, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        params, state, xs = (
            jax.tree.map(lambda a: jnp.asarray(a, dtype), tree) for tree in problem(cell)
        )
        new_state, y = cell.step(params, state, xs[0])
        assert jax.tree.map(lambda s: (s.shape, s.dtype), new_state) == jax.tree.map(
            lambda s: (s.shape, s.dtype), state
        )
        assert y.dtype == dtype
        assert y.shape == (3, cell.output_size)
        # The state a cell starts from is cast to the precision of the computation.
        assert unroll(cell, params, xs)[1].dtype == dtype


def test_compiles_once(cell):
    params, state, xs = problem(cell)
    run = jax.jit(lambda p, x, s: unroll(cell, p, x, s))
    run(params, xs, state)
    run(params, xs + 1, state)
    assert run._cache_size() == 1


def test_none_and_zero_initial_state_are_the_same(cell):
    params, _, xs = problem(cell)
    zeros = jax.tree.map(jnp.zeros_like, cell.initial_state((3,)))
    assert_trees_close(unroll(cell, params, xs), unroll(cell, params, xs, zeros), rtol=0)


def test_initial_parameters_are_float32_and_depend_on_the_key(cell):
    params, again, other = (cell.init(jax.random.key(k), D) for k in (0, 0, 1))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert_trees_close(params, again, rtol=0)
    assert any(
        np.any(a != b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True)
    )


@pytest.mark.parametrize("size", [0, -3, 2.5, "8", True, None])
def test_bad_sizes_are_refused_by_name(name, cell, size):
    with pytest.raises(InputError, match="hidden_size must be an integer of at least 1, got"):
        CELLS[name](size)
    with pytest.raises(InputError, match="input_size must be an integer of at least 1, got"):
        cell.init(jax.random.key(0), size)


def test_is_public_and_documented(name):
    factory = CELLS[name]
    if isinstance(factory, partial):  # a row of a table of variants
        factory = factory.func
        assert factory is getattr(seqjax, factory.__name__)
    else:
        assert factory is getattr(seqjax, name)
    assert inspect.getdoc(factory)
    equations = inspect.getdoc(sys.modules[factory.__module__])
    assert "Parameters:" in equations
    assert "yₜ = " in equations
