"""Ω against its definition, and what it does to gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from seqjax import InputError, init, rnn, unroll
from seqjax.training import omega
from tests.support.randomness import randomise
from tests.support.tiers import long_only

T, B, D, H = 9, 3, 2, 5


def problem(dtype=np.float64, activation=jnp.tanh):
    cell = rnn(H, activation)
    params = randomise(cell.init(jax.random.key(0), D), 1, dtype)
    readout = np.random.default_rng(2).normal(size=(H, 4)).astype(dtype)
    xs = np.random.default_rng(3).normal(size=(T, B, D)).astype(dtype)
    return cell, params, readout, xs


def last_step(readout, hs):
    return jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(hs[-1] @ readout, jnp.arange(B))
    )


def every_step(readout, hs):
    return jnp.mean((hs @ readout) ** 2)


def by_hand(u, delta, before, slope, form):
    """The definition, a loop over rows and steps with the whole Jacobian of each step."""
    total, live = 0.0, 0
    for row in range(delta.shape[1]):
        for k in range(-1, len(delta) - 1):
            after_h = delta[k + 1, row]
            after_x = after_h * slope(before[k + 1, row])
            if form == "paper":
                if k < 0:
                    continue
                jacobian = (u * slope(before[k, row])[:, None]).T  # ∂xₖ₊₁/∂xₖ
                ratio = np.linalg.norm(after_x @ jacobian) / np.linalg.norm(after_x)
            else:
                ratio = np.sum((u @ after_x) ** 2) / np.sum(after_h**2)
            total, live = total + (ratio - 1) ** 2, live + 1
    return total / (delta.shape[1] if form == "paper" else live)


SLOPES = {"tanh": lambda x: 1 - np.tanh(x) ** 2, "logistic": lambda x: 1 / (2 + 2 * np.cosh(x))}
ACTIVATIONS = {"tanh": jnp.tanh, "logistic": jax.nn.sigmoid}


@pytest.mark.parametrize("form", omega.FORMS)
@pytest.mark.parametrize("loss_fn", [long_only(last_step), every_step])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_omega_and_its_gradient_follow_the_definition(form, loss_fn, name):
    """Finite differences of U alone, with xₖ and ∂E/∂xₖ₊₁ held where they were."""
    with jax.enable_x64(True):
        cell, params, readout, xs = problem(activation=ACTIVATIONS[name])
        regularised = omega.value_and_grad(loss_fn, ACTIVATIONS[name], 1.0, form=form)
        found = jax.jit(regularised)(params, readout, xs)
        plain = jax.jit(jax.grad(lambda p: loss_fn(readout, unroll(cell, p, xs)[1])))(params)
        _, before = omega.nudged(ACTIVATIONS[name], params, xs, np.zeros((T, B, H)))
        u, delta, before = (np.asarray(a) for a in (params["u"], found.delta, before))

        def value(u):
            return by_hand(u, delta, before, SLOPES[name], form)

        np.testing.assert_allclose(found.omega, value(u), rtol=1e-10)
        differences = np.zeros_like(u)
        for place in np.ndindex(u.shape):
            nudge = np.zeros_like(u)
            nudge[place] = 1e-6
            differences[place] = (value(u + nudge) - value(u - nudge)) / 2e-6
        np.testing.assert_allclose(found.cell["u"] - plain["u"], differences, rtol=1e-6, atol=1e-9)
        for name in ("w", "b"):  # Ω is for U alone
            np.testing.assert_allclose(found.cell[name], plain[name], rtol=1e-12)


@pytest.mark.long
def test_delta_is_the_total_derivative():
    with jax.enable_x64(True):
        cell, params, readout, xs = problem()
        found = omega.value_and_grad(every_step, jnp.tanh, 0.0)(params, readout, xs)
        _, hs = unroll(cell, params, xs)

        def continued(h, t):
            state = cell.initial_state((B,))._replace(h=h)
            rest = unroll(cell, params, xs[t + 1 :], state)[1]
            return every_step(readout, jnp.concatenate([hs[:t], h[None], rest]))

        for t in (0, 4, T - 2):
            derivative = jax.grad(continued)(hs[t], t)
            np.testing.assert_allclose(found.delta[t], derivative, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("form", omega.FORMS)
def test_weight_0_is_plain_clipping(form):
    """In float64: two programs, which a compiler may round in two ways."""
    cell, params, readout, xs = problem()
    optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.5))
    regularised = omega.value_and_grad(last_step, jnp.tanh, 0.0, form=form)

    def with_omega(params, readout):
        found = regularised(params, readout, xs)
        return found.cell, found.readout

    plain = jax.grad(lambda p, r: last_step(r, unroll(cell, p, xs)[1]), argnums=(0, 1))

    def train(gradient):
        def update(carry, _):
            params, opt_state = carry
            updates, opt_state = optimizer.update(gradient(*params), opt_state)
            return (optax.apply_updates(params, updates), opt_state), None

        start = (params, jnp.asarray(readout))
        return jax.jit(lambda: lax.scan(update, (start, optimizer.init(start)), length=20)[0][0])()

    with jax.enable_x64(True):
        clipped, expected = train(with_omega), train(plain)
    for a, b in zip(*map(jax.tree.leaves, (clipped, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert np.any(np.abs(np.asarray(expected[0]["u"]) - params["u"]) > 1e-3)


def test_an_orthogonal_linear_network_has_nothing_to_lose():
    """‖δₖ‖ = ‖δₖ₊₁‖ in every direction: Ω = 0, and so is its gradient."""
    with jax.enable_x64(True):
        _, params, readout, xs = problem(activation=lambda x: x)
        params["u"] = np.asarray(init.orthogonal()(jax.random.key(1), (H, H), jnp.float64))
        for form in omega.FORMS:
            found = omega.value_and_grad(last_step, lambda x: x, 1.0, form=form)(
                params, readout, xs
            )
            np.testing.assert_allclose(found.omega, 0, atol=1e-25)
            scaled = {**params, "u": 0.5 * params["u"]}
            found = omega.value_and_grad(last_step, lambda x: x, 1.0, form=form)(
                scaled, readout, xs
            )
            expected = (T - 1) * 0.25 if form == "paper" else 0.75**2
            np.testing.assert_allclose(found.omega, expected, rtol=1e-12)


@pytest.mark.parametrize("form", omega.FORMS)
def test_gradients_stay_level_with_omega_and_vanish_without(form):
    """What is left per step of ‖∂E/∂h‖, from h_T to h₁, after training from "smart tanh"."""
    steps, size = 40, 20
    cell = rnn(size, recurrent_init=init.sparse())
    params = cell.init(jax.random.key(0), D)
    readout = np.random.default_rng(2).normal(size=(size, 4)).astype(np.float32)
    xs = 0.5 * np.random.default_rng(3).normal(size=(steps, 8, D)).astype(np.float32)

    def loss_fn(readout, hs):
        return jnp.mean((hs[-1] @ readout - 0.3) ** 2)

    @jax.jit
    def left(weight):
        regularised = omega.value_and_grad(loss_fn, jnp.tanh, weight, form=form)
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.02))

        def update(carry, _):
            params, opt_state = carry
            found = regularised(params, readout, xs)
            updates, opt_state = optimizer.update(found.cell, opt_state)
            norms = jnp.linalg.norm(found.delta, axis=-1).mean(axis=1)
            per_step = (norms[0] / norms[-1]) ** (1 / (steps - 1))
            return (optax.apply_updates(params, updates), opt_state), per_step

        return lax.scan(update, (params, optimizer.init(params)), length=300)[1]

    without, regularised = left(0.0), left(2.0)
    assert without[0] == regularised[0]
    assert without[-1] < without[0] < 0.75
    assert 0.88 < regularised[-1] < 1.1


def test_steps_without_a_gradient_are_left_out():
    u, slope = np.eye(3, dtype=np.float32) * 2, np.ones((4, 1, 3), np.float32)
    delta = np.zeros((4, 1, 3), np.float32)
    delta[3] = 1.0
    for form, expected in (("paper", 1.0), ("code", 9.0)):
        value, gradient = jax.value_and_grad(omega.omega)(u, delta, slope, form=form)
        assert value == pytest.approx(expected)
        assert np.all(np.isfinite(gradient))
        value, gradient = jax.value_and_grad(omega.omega)(u, 0 * delta, slope, form=form)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
        assert np.all(np.isfinite(jax.grad(omega.omega)(0 * u, delta, slope, form=form)))


@pytest.mark.parametrize("form", omega.FORMS)
def test_half_precision_knows_a_gradient_that_has_vanished(form):
    _, params, readout, xs = problem(np.float32)

    def found(dtype):
        regularised = omega.value_and_grad(
            lambda readout, hs: jnp.mean((hs[2] @ readout) ** 2), jnp.tanh, 2.0, form=form
        )
        return regularised(*jax.tree.map(lambda a: jnp.asarray(a, dtype), (params, readout, xs)))

    half, whole = found(jnp.float16), found(jnp.float32)
    np.testing.assert_allclose(half.omega, whole.omega, rtol=0.05)
    assert half.cell["u"].dtype == jnp.float16
    np.testing.assert_allclose(half.cell["u"], whole.cell["u"], rtol=0.1, atol=0.02)


def test_inputs_may_be_integers():
    _, params, readout, _ = problem(np.float32)
    xs = np.ones((4, 2, D), np.int32)
    regularised = omega.value_and_grad(every_step, jnp.tanh, 1.0)
    found, expected = (regularised(params, readout, x) for x in (xs, xs.astype(np.float32)))
    np.testing.assert_allclose(found.omega, expected.omega, rtol=1e-6)


def test_an_unknown_form_is_named():
    with pytest.raises(InputError, match="unknown form 'squared' of omega; choose one of paper"):
        omega.omega(np.eye(2), np.ones((3, 1, 2)), np.ones((3, 1, 2)), form="squared")
