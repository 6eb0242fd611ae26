"""Diagnosis against `jax.jacobian`, and against what is known exactly of linear systems."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from seqjax import (
    CELLS,
    Cell,
    InputError,
    diagnose,
    gru,
    init,
    irnn,
    lstm,
    rnn_linear,
    stack,
)
from tests.support.randomness import problem, randomise
from tests.support.tiers import some_cells

pytestmark = pytest.mark.usefixtures("strict_promotion")

H, T, B = 3, 4, 2


@pytest.fixture(params=some_cells())
def cell(request):
    return CELLS[request.param](H)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def to_the_end(cell, params, state, xs):
    """∂s_T/∂s_k of each row for every k by `jax.jacobian`, straight from the definition."""

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 1), out_axes=1)
    def of_a_row(state, xs):
        found = []
        for k in range(len(xs)):
            vector, rebuild = ravel_pytree(state)

            def last(v, k=k, rebuild=rebuild):
                s = rebuild(v)
                for x in xs[k:]:
                    s, _ = cell.step(params, s, x)
                return ravel_pytree(s)[0]

            found.append(jax.jacobian(last)(vector))
            state, _ = cell.step(params, state, xs[k])
        return jnp.stack(found)

    return of_a_row(state, xs)


def linear(u, *, batch=(), steps, dtype):
    """A linear RNN with the recurrent matrix u, all else random."""
    cell = rnn_linear(len(u))
    params, state, xs = problem(cell, steps=steps, batch=batch, dtype=dtype)
    return cell, {**params, "u": np.asarray(u, dtype)}, xs, state


def test_jacobians_equal_jax_jacobian(cell, x64):
    params, state, xs = problem(cell, steps=T, batch=(B,), dtype=np.float64)

    @jax.jit
    def everything(params, xs, state):
        args = (cell, params, xs, state)
        return (
            diagnose.state_jacobians(*args),
            diagnose.log_singular_values(*args),
            diagnose.step_jacobians(*args),
        )

    products, singular, steps = everything(params, xs, state)
    expected = to_the_end(cell, params, state, xs)
    actual = np.exp(products.log_norm)[..., None, None] * products.matrix
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-14)
    sigma = np.linalg.svd(expected, compute_uv=False)
    np.testing.assert_allclose(np.exp(singular), sigma, rtol=1e-7, atol=1e-14)
    np.testing.assert_allclose(steps[-1], expected[-1], rtol=1e-9, atol=1e-14)
    alive = products.log_norm > -np.inf  # a row of ReLUs may be off
    assert np.all(alive[-1])
    norms = np.linalg.norm(products.matrix, axis=(-2, -1))
    np.testing.assert_allclose(norms, alive, rtol=1e-12)


def test_gradients_equal_jax_grad(cell, x64):
    params, state, xs = problem(cell, steps=T, batch=(B,), dtype=np.float64)
    weights = np.random.default_rng(9).normal(size=(B, H))

    def loss_fn(final_state, y):
        return jnp.sum(jnp.sin(y) * weights, -1) + jnp.sum(
            jax.tree.leaves(final_state)[-1] ** 2, -1
        )

    found = jax.jit(lambda *a: diagnose.state_gradients(cell, params, xs, loss_fn, state))()

    @jax.jit
    def by_jax(state):
        gradients = []
        for k in range(T):

            def loss(s, k=k):
                for x in xs[k:]:
                    s, y = cell.step(params, s, x)
                return jnp.sum(loss_fn(s, y))

            gradients.append(jax.grad(loss)(state))
            state, _ = cell.step(params, state, xs[k])
        return jax.tree.map(lambda *a: jnp.stack(a), *gradients)

    actual = jax.tree.map(lambda a: np.exp(found.log_norm)[..., None] * a, found.direction)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14), actual, by_jax(state)
    )


def test_works_on_a_stack_of_different_cells_and_two_batch_axes(x64):
    cell = stack(lstm(2), gru(H))
    params, state, xs = problem(cell, steps=T, batch=(2, 2), dtype=np.float64)
    products = jax.jit(lambda *a: diagnose.state_jacobians(cell, *a))(params, xs, state)
    assert products.matrix.shape == (T, 2, 2, 2 * 2 + H, 2 * 2 + H)
    expected = to_the_end(cell, params, jax.tree.map(lambda a: a[1], state), xs[:, 1])
    actual = np.exp(products.log_norm)[:, 1, :, None, None] * products.matrix[:, 1]
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-14)
    exponents = jax.jit(lambda *a: diagnose.lyapunov_exponents(cell, *a))(params, xs, state)
    log_volume = np.linalg.slogdet(expected[0]).logabsdet  # whatever the directions, R keeps it
    np.testing.assert_allclose(exponents[1].sum(-1), log_volume / T, rtol=1e-9)


def test_counters_in_the_state_are_not_differentiated(x64):
    class Counting(NamedTuple):
        t: jax.Array
        h: jax.Array

    def step(params, state, x):
        h = params["a"] * state.h / (1 + state.t[..., None]).astype(state.h.dtype)
        return Counting(state.t + 1, h), h

    cell = Cell(None, None, step, 2)
    state = Counting(jnp.zeros(B, jnp.int32), jnp.ones((B, 2)))
    args = ({"a": jnp.array(3.0)}, jnp.zeros((4, B, 1)), state)
    products = diagnose.state_jacobians(cell, *args)
    assert products.matrix.shape == (4, B, 2, 2)
    np.testing.assert_allclose(products.log_norm[0], np.log(3**4 / 24 * np.sqrt(2)), rtol=1e-12)
    gradients = diagnose.state_gradients(cell, args[0], args[1], lambda s, y: y[..., 0], state)
    np.testing.assert_allclose(gradients.log_norm[0], np.log(3**4 / 24), rtol=1e-12)
    np.testing.assert_array_equal(gradients.direction.h[0], [[1, 0]] * B)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_two_thousand_steps_neither_underflow_nor_overflow(scale):
    """‖∂h_T/∂h_k‖ = s^(T - k) for U = s·Q: 10^±2000 in float32, whose end is 10^±38."""
    steps, size = 2000, 4
    u = init.orthogonal(scale)(jax.random.key(1), (size, size), jnp.float32)
    cell, params, xs, state = linear(u, batch=(B,), steps=steps, dtype=np.float32)
    # The theory is of the gradient; the states themselves would overflow with scale 3.
    params = {**params, "w": 0 * params["w"], "b": 0 * params["b"]}
    state = jax.tree.map(np.zeros_like, state)
    lags = np.arange(steps, 0, -1)[:, None]
    expected = np.broadcast_to(lags * np.log(scale), (steps, B))

    def everything(params, xs, state):
        gradients = diagnose.state_gradients(cell, params, xs, lambda s, y: y[..., 0], state)
        return (
            diagnose.log_singular_values(cell, params, xs, state),
            diagnose.state_jacobians(cell, params, xs, state).log_norm,
            gradients.log_norm,
            diagnose.lyapunov_exponents(cell, params, xs, state),
        )

    singular, log_norm, gradient, exponents = jax.jit(everything)(params, xs, state)
    tolerance = {"rtol": 1e-6, "atol": 1e-3}
    np.testing.assert_allclose(singular[..., 0], expected, **tolerance)
    np.testing.assert_allclose(singular[..., -1], expected, **tolerance)
    np.testing.assert_allclose(log_norm, expected + np.log(size) / 2, **tolerance)
    np.testing.assert_allclose(gradient, expected, **tolerance)
    np.testing.assert_allclose(exponents, np.log(scale), rtol=1e-5, atol=1e-5)


def test_singular_values_are_resolved_to_the_precision_and_no_further():
    u = np.diag([1.0, 0.5])
    cell, params, xs, state = linear(u, steps=60, dtype=np.float32)
    log_sigma, exponents = jax.jit(
        lambda *a: (
            diagnose.log_singular_values(cell, *a)[::-1],
            diagnose.lyapunov_exponents(cell, *a),
        )
    )(params, xs, state)
    np.testing.assert_allclose(log_sigma[:, 0], 0, atol=1e-5)
    np.testing.assert_allclose(log_sigma[:20, 1], -np.arange(1, 21) * np.log(2), rtol=1e-4)
    assert np.all(log_sigma[25:, 1] == -np.inf)
    # The exponents have no such limit.
    np.testing.assert_allclose(exponents, [0, -np.log(2)], atol=1e-6)


def test_lyapunov_exponents_are_the_logarithms_of_the_eigenvalues_moduli(x64):
    """By Oseledets' theorem, whatever the eigenvectors; here two are complex, none orthogonal."""
    size = 5
    u = 1.3 * np.random.default_rng(3).normal(size=(size, size)) / np.sqrt(size)
    moduli = np.sort(np.abs(np.linalg.eigvals(u)))[::-1]
    assert np.ptp(np.log(moduli)) > 0.5
    assert np.linalg.norm(u @ u.T - u.T @ u) > 0.5
    cell, params, xs, state = linear(u, batch=(B,), steps=3000, dtype=np.float64)
    params = {**params, "w": 0 * params["w"], "b": 0 * params["b"]}
    state = jax.tree.map(np.zeros_like, state)
    run = jax.jit(lambda *a: diagnose.lyapunov_exponents(cell, *a, burn_in=200))
    np.testing.assert_allclose(run(params, xs, state), [np.log(moduli)] * B, atol=2e-3)


def test_a_network_whose_relus_are_off_has_no_gradient_and_no_nan():
    cell = irnn(H)
    params = cell.init(jax.random.key(0), 4)
    params["b"] = params["b"] - 100
    xs = np.ones((T, B, 4), np.float32)

    @jax.jit
    def everything(params, xs):
        gradients = diagnose.state_gradients(cell, params, xs, lambda s, y: y.sum(-1))
        return (
            diagnose.state_jacobians(cell, params, xs),
            diagnose.log_singular_values(cell, params, xs),
            diagnose.lyapunov_exponents(cell, params, xs),
            gradients,
            diagnose.memory_horizon(gradients.log_norm),
        )

    products, singular, exponents, gradients, horizon = everything(params, xs)
    for zero in (products.matrix, gradients.direction.h, horizon):
        assert not np.any(zero)
    for log_zero in (products.log_norm, singular, exponents, gradients.log_norm):
        assert np.all(log_zero == -np.inf)


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("fraction", [0.1, 0.01])
def test_memory_horizon_of_a_geometric_decay(factor, fraction):
    lags = np.arange(100, 0, -1.0)
    log_norm = np.log(factor) * lags[:, None] + np.array([0.0, 7.0])  # the size is nothing to it
    below = factor ** (lags - 1) < fraction
    expected = lags[below].min() - 1 if below.any() else 100
    horizon = jax.jit(lambda a: diagnose.memory_horizon(a, fraction))(jnp.asarray(log_norm))
    np.testing.assert_array_equal(horizon, expected)


def test_memory_horizon_counts_what_stays_above_and_ends_with_the_sequence():
    by_lag = np.log([1.0, 0.5, 0.005, 1.0, 1.0])
    assert diagnose.memory_horizon(by_lag[::-1]) == 2
    assert diagnose.memory_horizon(np.log([3.0, 2.0, 1.0])) == 3


def test_gates_that_are_forced_open_or_shut_are_counted_so():
    cell = lstm(4)
    params, state, xs = problem(cell, steps=50, batch=(B,))
    b = np.zeros((4, 4), np.float32)  # rows i, f, g, o
    b[0, 0], b[1, 1], b[2, 2], b[3, 3] = -1e3, 1e3, -1e3, 0.0
    params = {"w": 0 * params["w"], "u": 0 * params["u"], "b": b.reshape(-1)}
    found = jax.jit(lambda *a: diagnose.gate_saturation(cell, *a))(params, xs, state)
    # The other units are half open; those of the candidate g are 0, which is below.
    unit = np.eye(4)[:, None].repeat(B, 1)
    np.testing.assert_array_equal(
        np.stack(found.below), [unit[0], 0 * unit[1], 1 - unit[2], 0 * unit[3]]
    )
    np.testing.assert_array_equal(
        np.stack(found.above), [0 * unit[0], unit[1], unit[2], 0 * unit[3]]
    )


def test_gate_shares_are_shares_of_time():
    """An input of ±20 that opens the gates every fourth step."""
    cell = gru(2)
    params = jax.tree.map(np.zeros_like, cell.init(jax.random.key(0), 1))
    params["w"] = np.ones_like(params["w"])
    xs = np.where(np.arange(40) % 4 == 0, 20.0, -20.0).astype(np.float32)[:, None]
    found = diagnose.gate_saturation(cell, params, xs)
    np.testing.assert_allclose(found.above.z, 0.25)
    np.testing.assert_allclose(found.below.z, 0.75)
    np.testing.assert_allclose(found.above.n, 1)  # by magnitude


@pytest.mark.parametrize("name", some_cells())
def test_the_gates_of_every_cell_make_its_new_state(name, x64):
    """By the last equation of each family, whose gates are the only other values in it."""
    cell = CELLS[name](H)
    params, state, xs = problem(cell, dtype=np.float64)
    gates = diagnose.gates_of(cell)(params, state, xs[0])
    new_state, y = cell.step(params, state, xs[0])
    assert all(np.shape(gate) == (3, H) for gate in gates)
    kept = {  # the shares of the old state and of the candidate, and the old state
        "RNNState": lambda g: (0.0, 1.0, g.h),
        "LSTMGates": lambda g: (g.f, g.i, g.g),
        "MGUGates": lambda g: (1 - g.f, g.f, g.n),
        "GRUGates": lambda g: (1 - g.z, g.z, g.n) if "mut" in name else (g.z, 1 - g.z, g.n),
    }
    old_share, new_share, candidate = kept[type(gates).__name__](gates)
    old, new = (state.c, new_state.c) if hasattr(state, "c") else (state.h, new_state.h)
    np.testing.assert_allclose(new, old_share * old + new_share * candidate, rtol=1e-12)
    if hasattr(state, "c"):
        squashed = new_state.c if name == "lstm_noaf" else np.tanh(new_state.c)
        np.testing.assert_allclose(y, gates.o * squashed, rtol=1e-12)


def test_cells_without_gates_are_refused_in_one_sentence():
    cell = stack(lstm(H))
    params, state, xs = problem(cell)
    with pytest.raises(InputError, match=r"built by stack has no gates: take one"):
        diagnose.gate_saturation(cell, params, xs, state)


def test_spectra_of_every_gate(cell, x64):
    params = randomise(cell.init(jax.random.key(0), 4), seed=5, dtype=np.float64)
    spectra = jax.jit(diagnose.recurrent_spectra)(params)
    assert set(spectra) == {name for name in params if name.startswith("u")}
    for name, found in spectra.items():
        blocks = np.split(params[name], params[name].shape[1] // H, axis=1)
        for g, block in enumerate(blocks):
            sigma = np.linalg.svd(block, compute_uv=False)
            np.testing.assert_allclose(found.singular_values[g], sigma, rtol=1e-10)
            radius = np.abs(np.linalg.eigvals(block)).max()
            np.testing.assert_allclose(found.radius[g], radius, rtol=1e-10)


def test_wrong_input_is_named():
    cell = lstm(H)
    params, state, xs = problem(cell)
    with pytest.raises(InputError, match=r"burn_in must be at least 0 and below .* 5, got 5"):
        diagnose.lyapunov_exponents(cell, params, xs, state, burn_in=5)
    with pytest.raises(InputError, match=r"one loss for each row, shape \(3,\), got .* \(\)"):
        diagnose.state_gradients(cell, params, xs, lambda s, y: jnp.sum(y), state)
    with pytest.raises(InputError, match=r"fraction must lie in \(0, 1\], got 0"):
        diagnose.memory_horizon(np.zeros(3), 0.0)
    with pytest.raises(InputError, match=r"\[H, G·H\], got \(3, 4\)"):
        diagnose.spectrum(np.zeros((3, 4)))
    with pytest.raises(InputError, match="no recurrent kernel"):
        diagnose.recurrent_spectra({"w": np.zeros((3, 3))})
