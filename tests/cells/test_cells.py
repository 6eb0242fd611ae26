"""One conformance suite over `CELLS`: a new row is tested by that alone."""

import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import CELLS, InputError, unroll, unroll_loop
from tests.support.randomness import problem, randomise
from tests.support.reference import REFERENCES
from tests.support.tiers import some_cells

pytestmark = pytest.mark.usefixtures("strict_promotion")

H, D = 3, 4
LENGTHS = np.array([5, 0, 2])


@pytest.fixture(scope="module", params=CELLS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def cell(name):
    return CELLS[name](H)


@pytest.fixture(params=some_cells())
def some_cell(request):
    return CELLS[request.param](H)


@pytest.fixture(scope="module")
def values_and_gradients(cell):
    """What `unroll` returns and what `jax.vjp` does, in one program for all tests that read it."""

    @jax.jit
    def run(arguments, cotangents):
        values, pull_back = jax.vjp(lambda p, s, xs: unroll(cell, p, xs, s), *arguments)
        return values, pull_back(cotangents)

    return run


def float64_problem(cell):
    """`(params, state, xs)`, and a weight for every value that `unroll` returns."""
    arguments = problem(cell, steps=6, batch=(2,), input_size=D, dtype=np.float64)
    outputs = np.zeros((6, 2, cell.output_size))
    return arguments, randomise((arguments[1], outputs), 7, np.float64)


def assert_trees_close(actual, desired, rtol, atol=0.0):
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.numeric
def test_equals_its_equations_in_numpy_float64(name, cell, values_and_gradients):
    (params, state, xs), weights = float64_problem(cell)
    with jax.enable_x64(True):
        (final_state, ys), _ = values_and_gradients((params, state, xs), weights)
    for row in range(2):
        expected = {k: np.asarray(v[row]) for k, v in state._asdict().items()}
        for t in range(len(xs)):
            expected, y = REFERENCES[name](params, expected, xs[t, row])
            np.testing.assert_allclose(ys[t, row], y, rtol=1e-12, atol=1e-13)
        for field, value in expected.items():
            actual = getattr(final_state, field)[row]
            np.testing.assert_allclose(actual, value, rtol=1e-12, atol=1e-13)


@pytest.mark.numeric
def test_gradients_equal_finite_differences(cell, values_and_gradients):
    """For every array that `unroll` takes, in a random direction of its own."""
    arguments, weights = float64_problem(cell)
    leaves, structure = jax.tree.flatten(arguments)
    rng, distance = np.random.default_rng(8), 1e-5

    def weighted_sum(i, moved):
        moved_arguments = structure.unflatten([*leaves[:i], moved, *leaves[i + 1 :]])
        values, _ = values_and_gradients(moved_arguments, weights)
        products = jax.tree.map(lambda v, w: np.sum(np.asarray(v) * w), values, weights)
        return sum(jax.tree.leaves(products))

    with jax.enable_x64(True):
        _, gradients = values_and_gradients(arguments, weights)
        for i, (path, gradient) in enumerate(jax.tree.leaves_with_path(gradients)):
            direction = rng.normal(size=gradient.shape)
            ahead, behind = (
                weighted_sum(i, leaves[i] + sign * distance * direction) for sign in (1, -1)
            )
            slope = (ahead - behind) / (2 * distance)
            np.testing.assert_allclose(
                np.sum(gradient * direction), slope, rtol=1e-6, atol=1e-7, err_msg=str(path)
            )


def test_every_parameter_gets_a_gradient(cell, values_and_gradients):
    arguments, weights = float64_problem(cell)
    with jax.enable_x64(True):
        _, (gradients, _, _) = values_and_gradients(arguments, weights)
    for path, leaf in jax.tree.leaves_with_path(jax.tree.map(np.asarray, gradients)):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf != 0), path


def assert_scan_equals_loop(cell, lengths):
    params, state, xs = problem(cell)

    @jax.jit
    def both_directions(params, state, xs, lengths):
        ways = [{"lengths": lengths, "reverse": reverse} for reverse in (False, True)]
        return [unroll(cell, params, xs, state, **way) for way in ways]

    scans = both_directions(params, state, xs, lengths)
    for scan, reverse in zip(scans, (False, True), strict=True):
        loop = unroll_loop(cell, params, xs, state, lengths=lengths, reverse=reverse)
        assert_trees_close(scan, loop, rtol=1e-5, atol=1e-6)


@pytest.mark.numeric
def test_scan_with_lengths_equals_loop(cell):
    assert_scan_equals_loop(cell, LENGTHS)


def test_scan_without_lengths_equals_loop(some_cell):
    assert_scan_equals_loop(some_cell, None)


def test_batch_equals_rows_one_by_one(some_cell):
    cell = some_cell
    params, state, xs = problem(cell, batch=(2, 3))
    run = jax.jit(lambda params, xs, state: unroll(cell, params, xs, state))
    final_state, ys = run(params, xs, state)
    for row in np.ndindex(2, 3):
        row_state = jax.tree.map(lambda s, row=row: s[row], state)
        row_final, row_ys = run(params, xs[:, *row], row_state)
        np.testing.assert_allclose(ys[:, *row], row_ys, rtol=1e-5, atol=1e-6)
        assert_trees_close(
            jax.tree.map(lambda s, row=row: s[row], final_state), row_final, rtol=1e-5, atol=1e-6
        )


def test_vmap_equals_batch(some_cell):
    cell = some_cell
    params, state, xs = problem(cell)
    mapped = jax.vmap(lambda s, x: unroll(cell, params, x, s), (0, 1), (0, 1))(state, xs)
    assert_trees_close(mapped, unroll(cell, params, xs, state), rtol=1e-5, atol=1e-6)


def test_streaming_equals_the_whole_sequence(some_cell):
    cell = some_cell
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
        params, state, xs = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, dtype), problem(cell)
        )
        x = jax.ShapeDtypeStruct(xs.shape[1:], dtype)
        new_state, y = jax.eval_shape(cell.step, params, state, x)
        assert new_state == state
        assert (y.shape, y.dtype) == ((3, cell.output_size), dtype)
        # The state a cell starts from is cast to the precision of the computation.
        _, ys = jax.eval_shape(lambda p, xs: unroll(cell, p, xs), params, xs)
        assert ys.dtype == dtype


def test_compiles_once(some_cell):
    cell = some_cell
    params, state, xs = problem(cell)
    run = jax.jit(lambda p, x, s: unroll(cell, p, x, s))
    run(params, xs, state)
    run(params, xs + 1, state)
    assert run._cache_size() == 1


def test_none_and_zero_initial_state_are_the_same(some_cell):
    cell = some_cell
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
    assert factory is getattr(seqjax, name)
    assert factory.__name__ == name
    assert inspect.getdoc(factory)
    equations = inspect.getdoc(sys.modules[factory.__module__])
    assert "Parameters:" in equations
    assert "yₜ = " in equations
