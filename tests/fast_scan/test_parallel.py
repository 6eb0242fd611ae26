"""Parallel in time: the values and gradients of the loop, and the truth about how they were found."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from seqjax import CELLS, InputError, lstm, min_gru, rnn, scan, stack, unroll
from seqjax.fast_scan.jaxprs import flatten
from seqjax.fast_scan.kinds import AFFINE, MIXING, NONE, components
from seqjax.fast_scan.linear_scan import METHODS, linear_scan
from seqjax.fast_scan.scan import scan_with_report
from tests.support.randomness import problem
from tests.support.tiers import cases, long_only

H = 3
SHORT = ("lru", "para_lstm")
LINEAR = ("lru", "s5", "min_gru", "min_lstm", "rg_lru", "hgrn", "qrnn", "mamba", "gla")
OTHERS = ("sru", "ind_rnn", "para_gru", "para_lstm", "mlstm", "slstm", "lstm", "gru", "rnn")
ALL = [name if name in SHORT else long_only(name) for name in (*LINEAR, *OTHERS)]


def weighted(values):
    return sum(jnp.sum(jnp.sin(v)) for v in jax.tree.leaves(values))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_leaves", [1, 2])
@pytest.mark.parametrize("num_steps", [1, long_only(2), 7, *map(long_only, (16, 101))])
def test_linear_scans_equal_the_loop(method, num_leaves, num_steps):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(num_leaves, num_leaves, num_steps, 2, 3)) * 0.7
    b, start = rng.normal(size=(num_leaves, num_steps, 2, 3)), rng.normal(size=(num_leaves, 2, 3))
    with jax.enable_x64(True):
        for reverse in (False, True):
            found = linear_scan(
                [list(map(jnp.asarray, row)) for row in a],
                list(map(jnp.asarray, b)),
                list(map(jnp.asarray, start)),
                method=method,
                reverse=reverse,
            )
            state = start
            for t in range(num_steps)[:: -1 if reverse else 1]:
                state = np.einsum("ijbh,jbh->ibh", a[:, :, t], state) + b[:, t]
                for i in range(num_leaves):
                    np.testing.assert_allclose(found[i][t], state[i], rtol=1e-11, atol=1e-12)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ALL)
def test_values_and_gradients_are_those_of_the_loop(name):
    """With lengths 0 ... T, NaN in the padding, states to begin with, both ways, two batch axes."""
    cell = CELLS[name](H)
    with jax.enable_x64(True):
        arguments = problem(cell, steps=13, batch=(2, 2), dtype=np.float64)
        lengths = np.array([[13, 0], [5, 12]])
        dead = np.arange(13)[:, None, None] >= lengths
        arguments = (*arguments[:2], np.where(dead[..., None], np.nan, arguments[2]))

        def run(parallel, params, state, xs, reverse):
            results = unroll(
                cell, params, xs, state, lengths=lengths, reverse=reverse, parallel=parallel
            )
            return weighted(results), results

        @partial(jax.jit, static_argnums=0)
        def both(parallel, arguments):
            ways = [partial(run, parallel, reverse=reverse) for reverse in (False, True)]
            return [
                jax.value_and_grad(way, argnums=(0, 1, 2), has_aux=True)(*arguments) for way in ways
            ]

        expected, found = both("never", arguments), both("newton", arguments)
        for (_, results), _ in found:
            assert np.all(np.isfinite(results[1]))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "name", ["min_gru", "para_gru", *map(long_only, ("lru", "mamba", "mlstm"))]
)
@pytest.mark.parametrize("num_steps", [1, long_only(2), 97])
def test_any_number_of_steps(name, num_steps):
    cell = CELLS[name](H)
    with jax.enable_x64(True):
        params, state, xs = problem(cell, steps=num_steps, batch=(), dtype=np.float64)
        expected = unroll(cell, params, xs, state, parallel="never")
        for parallel in ("associative", "newton"):
            found = unroll(cell, params, xs, state, parallel=parallel)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


def report_of(cell, params, state, xs, batch_axes=1):
    return scan_with_report(cell.step, params, state, xs, batch_axes=batch_axes)


@pytest.mark.long
def test_newton_needs_few_iterations_where_the_state_contracts():
    cell = lstm(8)
    params, state = cell.init(jax.random.key(0), 4), cell.initial_state((2,))
    counts = []
    for num_steps in (100, 1000):
        xs = jax.random.normal(jax.random.key(1), (num_steps, 2, 4))
        _, ys, report = report_of(cell, params, state, xs)
        expected = unroll(cell, params, xs, state)[1]
        np.testing.assert_allclose(ys, expected, atol=1e-5)
        assert not report.fell_back[0]
        counts.append(int(report.iterations[0]))
    assert max(counts) <= 12
    assert counts[1] <= counts[0] + 2


@pytest.mark.parametrize("name", ["gru", *map(long_only, ("rnn", "lstm", "para_gru", "sru"))])
@pytest.mark.whole
def test_damped_steps_end_where_the_loop_does(name):
    cell = CELLS[name](H)
    with jax.enable_x64(True):
        params, state, xs = problem(cell, steps=40, dtype=np.float64)

        def total(parallel, params):
            state_, ys = unroll(cell, params, xs, state, parallel=parallel)
            return jnp.sum(ys**2) + sum(jnp.sum(s) for s in jax.tree.leaves(state_))

        found, expected = (
            jax.value_and_grad(partial(total, way))(params) for way in ("damped", "never")
        )
        report = scan_with_report(cell.step, params, state, xs, parallel="damped", batch_axes=1)[2]
        assert not report.fell_back.any()
        assert max(report.iterations) > 1
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.long
def test_damping_reaches_the_end_where_newton_goes_astray(seed):
    """A GRU whose recurrent weights are three times the usual ones, over 300 steps."""
    cell = CELLS["gru"](16)
    params = cell.init(jax.random.key(seed), 8)
    params = {n: 3 * a if n == "u" else a for n, a in params.items()}
    xs = jax.random.normal(jax.random.key(1), (300, 1, 8))
    state = cell.initial_state((1,))
    expected = unroll(cell, params, xs, state)[1]
    fell, counts = {}, {}
    for way in ("newton", "damped"):
        _, ys, report = scan_with_report(cell.step, params, state, xs, parallel=way, batch_axes=1)
        np.testing.assert_allclose(ys, expected, atol=1e-4)
        fell[way], counts[way] = bool(report.fell_back[0]), int(report.iterations[0])
    assert fell == {"newton": True, "damped": False}
    assert 30 < counts["damped"] < counts["newton"]


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_small_states_are_found_as_exactly_as_large_ones(scale):
    def step(params, state, x):
        state = scale * jnp.tanh(params["a"] * state / scale + x)
        return state, state

    xs = jax.random.normal(jax.random.key(0), (40, 2, 3))
    params, start = {"a": jnp.float32(0.9)}, jnp.zeros((2, 3))
    found, expected = (
        scan(step, params, start, xs, parallel=way, batch_axes=1)[1] for way in ("newton", "never")
    )
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


@pytest.mark.parametrize("size", [16, long_only(80)])  # by the full derivative, and by its diagonal
@pytest.mark.long
def test_chaos_is_walked_step_by_step(size):
    """Gaussian weights of three times the usual scale: a residual of zero proves nothing there."""
    cell = rnn(size, recurrent_init=jax.nn.initializers.normal(3 / size**0.5))
    params = cell.init(jax.random.key(0), 4)
    state = cell.initial_state((1,))
    for num_steps in (20, 100, 400):
        xs = 0.1 * jax.random.normal(jax.random.key(1), (num_steps, 1, 4))
        _, ys, report = report_of(cell, params, state, xs)
        _, expected = lax.scan(partial(cell.step, params), state, xs)
        if num_steps >= 100:
            assert report.fell_back[0]
        np.testing.assert_allclose(ys, expected, atol=1e-3)


@pytest.mark.long
def test_a_stack_is_solved_layer_by_layer_and_says_so():
    cell = stack(min_gru(4), lstm(4), CELLS["lru"](4))
    params, state, xs = problem(cell, steps=30)
    for parallel in ("associative", "newton"):
        final, ys, report = scan_with_report(
            cell.step, params, state, xs, parallel=parallel, batch_axes=1
        )
        assert report.kinds == (1, 3, 1)
        assert bool(report.iterations[1]) == (parallel == "newton")
        expected = unroll(cell, params, xs, state)
        for a, b in zip(jax.tree.leaves((final, ys)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_works_under_vmap_over_parameters():
    cell = min_gru(4)
    params, state, xs = problem(cell, steps=9)
    several = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)

    def last(params):
        return unroll(cell, params, xs, state, parallel="newton")[1]

    mapped = jax.jit(jax.vmap(last))(several)
    np.testing.assert_allclose(
        mapped[1], last(jax.tree.map(lambda a: 2 * a, params)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.long
def test_complex_states_and_leaves_without_gradient():
    turn = jnp.exp(1j * jnp.array([0.3, -1.0, 2.0]))

    def step(params, state, inputs):
        count, h = state
        x, index = inputs
        h = params["r"] * turn * h + x * index
        return (count + 1, h), h.real + count

    xs = jax.random.normal(jax.random.key(0), (11, 2, 3))
    inputs = xs, jnp.arange(11)
    start = jnp.int32(0), jnp.ones((2, 3), jnp.complex64)

    def total(parallel, params, h):
        (_, final), ys = scan(step, params, (start[0], h), inputs, parallel=parallel)
        return jnp.sum(ys**2) + jnp.sum(jnp.abs(final) ** 2)

    params = {"r": jnp.full(3, 0.9)}
    for parallel in ("associative", "newton"):
        found, expected = (
            jax.value_and_grad(partial(total, way), argnums=(0, 1))(params, start[1])
            for way in (parallel, "never")
        )
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_default_on_a_cpu_is_the_loop():
    cell = min_gru(4)
    params, state, xs = problem(cell, steps=9)

    def program(parallel):
        run = partial(unroll, cell, parallel=parallel)
        return str(jax.make_jaxpr(lambda p, xs, s: run(p, xs, s))(params, xs, state))

    assert program("auto") == program("never") != program("associative")


def test_what_does_not_fit_is_refused():
    cell = min_gru(4)
    params, state, xs = problem(cell)
    with pytest.raises(
        InputError, match="parallel must be one of auto, never, associative, newton, damped"
    ):
        unroll(cell, params, xs, state, parallel="yes")
    with pytest.raises(InputError, match="forward_mode is the plain"):
        unroll(cell, params, xs, state, parallel="newton", forward_mode=True)
    with pytest.raises(InputError, match="one of associative, newton, damped here"):
        scan_with_report(cell.step, params, state, xs, parallel="auto")


POINTWISE_OPS = [
    lambda a, b: a + b,
    lambda a, b: a * b,
    lambda a, b: a - 0.5 * b,
    lambda a, b: jnp.tanh(a),
    lambda a, b: jax.nn.sigmoid(a) * b,
    lambda a, b: jnp.where(b > 0, a, -a),
    lambda a, b: a / (1 + b * b),
    lambda a, b: -a,
]
TRAPS = [
    lambda a, b: jnp.maximum(a, b),
    lambda a, b: a * a,
    lambda a, b: jnp.sort(a, -1),
    lambda a, b: a[..., ::-1] + b,
    lambda a, b: a.astype(jnp.float32).astype(a.dtype),
    lambda a, b: a @ jnp.full((H, H), 0.3, a.dtype),
    lambda a, b: jnp.cumsum(a, -1),
    lambda a, b: jax.nn.relu(a) + b,
]


@given(data=st.data())
@cases(short=4, long=200)
def test_equals_lax_scan_for_random_steps(data):
    """Random graphs of elementwise functions of two leaves of state, half of them with a trap within."""
    ops = POINTWISE_OPS + (TRAPS if data.draw(st.booleans()) else [])
    number = st.integers(0, 99)
    plan = data.draw(st.lists(st.tuples(number, number, number), min_size=1, max_size=6))

    def step(p, state, x):
        values = [state["h"], x, p * jnp.sin(x), state["c"]]
        for k, i, j in plan:
            values.append(ops[k % len(ops)](values[i % len(values)], values[j % len(values)]))
        return {"h": 0.5 * values[-1], "c": 0.5 * values[-2]}, values[len(values) // 2]

    with jax.enable_x64(True):
        rng = np.random.default_rng(len(plan))
        state = {name: jnp.asarray(0.3 * rng.normal(size=(2, H))) for name in "hc"}
        xs, p = jnp.asarray(rng.normal(size=(6, 2, H))), jnp.asarray(rng.normal(size=H))

        def total(run, p, state, xs):
            return weighted(run(p, state, xs))

        def plain(p, state, xs):
            return lax.scan(partial(step, p), state, xs)

        check_kinds(step, p, state, xs[0])
        expected = plain(p, state, xs)
        gradients = jax.grad(partial(total, plain), argnums=(0, 1, 2))(p, state, xs)
        for parallel in ("associative", "newton"):
            run = partial(scan, step, parallel=parallel, batch_axes=1)
            found = run(p, state, xs)
            if any(not np.all(np.abs(a) < 1e6) for a in jax.tree.leaves(expected)):
                continue  # it explodes, in either way
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)
            of_found = jax.grad(partial(total, run), argnums=(0, 1, 2))(p, state, xs)
            for a, b in zip(jax.tree.leaves(of_found), jax.tree.leaves(gradients), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def check_kinds(step, p, state, x):
    """An affine component is affine, and neither it nor a pointwise one looks at other units."""
    closed = jax.make_jaxpr(step)(p, state, x)
    flat, consts = flatten(closed)
    leaves = jax.tree.leaves(state)
    rng = np.random.default_rng(0)
    for part in components(flat, len(consts) + 1, len(leaves)):
        if part.kind == MIXING:
            continue

        def new(own, part=part):
            filled = dict(enumerate(leaves)) | dict(zip(part.leaves, own, strict=True))
            return np.array(part.new.function(*consts, p, *filled.values(), x))

        shape = (len(part.leaves), 2, H)
        one, other = rng.normal(size=(2, *shape))
        changed = np.array(one)
        changed[..., 1] += 1
        np.testing.assert_array_equal(new(one)[..., [0, 2]], new(changed)[..., [0, 2]])
        if part.kind == AFFINE:
            between = new(0.3 * one + 0.7 * other)
            np.testing.assert_allclose(between, 0.3 * new(one) + 0.7 * new(other), atol=1e-9)
        if part.kind == NONE:
            np.testing.assert_array_equal(new(one), new(other))
