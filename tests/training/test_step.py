"""Updates against SGD by hand, what is skipped, and many updates in one dispatch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.errors import InputError, RunError
from seqjax.training.fit import fit
from seqjax.training.step import (
    check_applied,
    check_progress,
    fault_of,
    init_train_state,
    make_train_step,
    make_train_steps,
    roll_back,
)


def linear_loss(params, carry, batch, key):
    """Least squares; the carry sums the inputs; the noise shows the key."""
    xs, ys = batch
    errors = xs @ params["w"] + params["b"] - ys
    loss = jnp.mean(errors**2)
    metrics = {"loss": loss, "noise": jax.random.normal(key)}
    return loss, (carry + xs.sum(0), metrics)


def linear_problem(seed=0, count=8):
    rng = np.random.default_rng(seed)
    params = {"w": rng.normal(size=3), "b": rng.normal()}
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    data = (rng.normal(size=(count, 5, 3)), rng.normal(size=(count, 5)))
    return params, tuple(np.asarray(d, np.float32) for d in data)


def batch_at(data, step):
    return jax.tree.map(lambda d: jnp.asarray(d)[step % len(d)], data)


def make(optimizer, loss_fn=linear_loss, seed=3):
    return make_train_step(loss_fn, optimizer, seed)


def start(params, optimizer):
    return init_train_state(params, optimizer, jnp.zeros(3))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_updates_equal_sgd_by_hand():
    params, data = linear_problem()
    optimizer = optax.sgd(0.1)
    step, state = jax.jit(make(optimizer)), start(params, optimizer)
    w, b = np.asarray(params["w"], np.float64), float(params["b"])
    for t in range(4):
        xs, ys = (d[t].astype(np.float64) for d in data)
        state, metrics, finite = step(state, batch_at(data, t))
        errors = xs @ w + b - ys
        grad_w, grad_b = 2 * errors @ xs / 5, 2 * errors.mean()
        assert bool(finite)
        assert float(metrics["loss"]) == pytest.approx(np.mean(errors**2), rel=1e-5)
        assert float(metrics["grad_norm"]) == pytest.approx(
            np.sqrt(grad_w @ grad_w + grad_b**2), rel=1e-5
        )
        w, b = w - 0.1 * grad_w, b - 0.1 * grad_b
        np.testing.assert_allclose(state.params["w"], w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state.params["b"], b, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state.carry, data[0][: t + 1].sum((0, 1)), rtol=1e-5, atol=1e-6)
    assert (int(state.step), int(state.skipped)) == (4, 0)


def test_the_key_is_a_function_of_seed_and_step():
    params, data = linear_problem()
    optimizer = optax.sgd(0.1)
    state, noises = start(params, optimizer), []
    for t in range(3):
        state, metrics, _ = make(optimizer, seed=11)(state, batch_at(data, t))
        expected = jax.random.normal(jax.random.fold_in(jax.random.key(11), t))
        assert float(metrics["noise"]) == float(expected)
        noises.append(float(metrics["noise"]))
    assert len(set(noises)) == 3


def nan_gradient_loss(params, carry, batch, key):
    """A finite loss whose gradient is not: d sqrt(x) / dx at 0."""
    loss, aux = linear_loss(params, carry, batch, key)
    return loss + jnp.sqrt(batch[1][0] * params["b"]), aux


def infinite_loss(params, carry, batch, key):
    """An infinite loss whose gradient is finite."""
    loss, aux = linear_loss(params, carry, batch, key)
    return loss + jnp.where(batch[1][0] == 0, jnp.inf, 0), aux


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "gradient", "loss"])
def test_what_is_not_finite_is_skipped_and_counted(bad):
    params, (xs, ys) = linear_problem(1)
    optimizer = optax.adam(0.1)
    if bad in ("gradient", "loss"):
        loss_fn, ys = nan_gradient_loss if bad == "gradient" else infinite_loss, np.abs(ys)
        params["b"] = jnp.float32(1e4)
        ys[[2, 3], 0] = 0
    else:
        loss_fn = linear_loss
        xs[[2, 3], 1, 0] = bad
    step, state = jax.jit(make(optimizer, loss_fn)), start(params, optimizer)
    seen = []
    for t in range(6):
        before = state
        state, metrics, finite = step(state, batch_at((xs, ys), t))
        seen.append((bool(finite), int(state.skipped), int(state.skipped_in_a_row)))
        assert int(state.step) == t + 1
        for old, new in zip(before[1:4], state[1:4], strict=True):  # params, opt_state, carry
            if t in (2, 3):
                assert_same(new, old)
            else:
                assert any(
                    np.any(a != b)
                    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
                )
        if bad in ("gradient", "loss"):
            assert np.isfinite(metrics["grad_norm"]) == (bad == "loss" or t not in (2, 3))
    assert seen == [
        (True, 0, 0),
        (True, 0, 0),
        (False, 1, 1),
        (False, 2, 2),
        (True, 2, 0),
        (True, 2, 0),
    ]


@pytest.mark.numeric
def test_many_updates_equal_single_ones_bit_for_bit():
    params, data = linear_problem(2)
    data[0][4, 0, 0] = np.nan
    optimizer = optax.adam(0.05)
    steps = make_train_steps(make(optimizer), batch_at)
    one, state = start(params, optimizer), start(params, optimizer)
    for count in (3, 1, 7, 2):
        state, metrics = steps(state, data, count)
        values = []
        for _ in range(count):
            one, single = steps(one, data, 1)
            values.append(single)
        assert_same(state, one)
        applied = [value for value in values if int(value.applied)]
        assert int(metrics.applied) == len(applied)
        for name in ("loss", "noise", "grad_norm"):
            mean = np.mean([float(value.values[name]) for value in applied])
            assert float(metrics.values[name]) == pytest.approx(mean, rel=1e-5)
    assert (int(state.step), int(state.skipped)) == (13, 2)  # the data repeat after 8
    assert steps._cache_size() == 1


def test_many_updates_equal_the_step_itself():
    params, data = linear_problem(3)
    optimizer = optax.sgd(0.1, 0.9)
    steps, step = make_train_steps(make(optimizer), batch_at), jax.jit(make(optimizer))
    state, expected = start(params, optimizer), start(params, optimizer)
    state, _ = steps(state, data, 5)
    for t in range(5):
        expected, _, _ = step(expected, batch_at(data, t))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_metrics_are_nan_if_no_update_was_applied():
    params, data = linear_problem(4)
    optimizer = optax.sgd(0.1)
    data[1][:] = np.nan
    state, metrics = make_train_steps(make(optimizer), batch_at)(start(params, optimizer), data, 3)
    assert int(metrics.applied) == 0
    assert all(np.isnan(value) for value in metrics.values.values())
    assert_same(state.params, params)


def test_too_many_skips_in_a_row_stop_the_run():
    params, data = linear_problem(5)
    optimizer = optax.sgd(0.1)
    data[1][2:] = np.nan
    state, _ = make_train_steps(make(optimizer), batch_at)(start(params, optimizer), data, 5)
    check_progress(state, most_in_a_row=3)
    with pytest.raises(RunError, match=r"^stopped at step 5: .* 3 in a row .*learning_rate"):
        check_progress(state, most_in_a_row=2)


@pytest.mark.parametrize("place", ["data", "loss", "gradient", "carry"])
def test_the_first_number_that_is_not_finite_is_placed(place):
    """NaN of a batch; an infinite loss of finite data; an infinite gradient of a finite loss; a carry
    of NaN that neither shows."""

    def loss_fn(params, carry, batch, key):
        if place == "carry":
            carry = carry + jnp.where(batch[0] > 3, jnp.nan, 1.0)
        loss = jnp.sum(params["a"] ** 2) + jnp.sum(batch * params["b"])
        if place == "loss":
            loss = loss + jnp.where(batch[0] > 3, jnp.inf, 0.0)
        if place == "gradient":  # the derivative of the root is infinite at 0
            loss = loss + jnp.sqrt(jnp.where(batch[0] > 3, 0.0, 1.0) * jnp.abs(params["b"][0]))
        return loss, (carry, {})

    optimizer = optax.sgd(0.01)
    step = jax.jit(make_train_step(loss_fn, optimizer, 0))
    # minus infinity is a good beginning of a maximum, and no fault
    state = init_train_state(
        {"a": jnp.ones(2), "b": jnp.ones(2)}, optimizer, jnp.array([0, -jnp.inf])
    )
    for k in range(8):
        bad = float(k) if place != "data" or k <= 3 else np.nan
        state, _, _ = step(state, jnp.array([bad, 1.0]))
        if k <= 3:
            assert fault_of(state) == ""
    where = "the gradient of b" if place == "gradient" else f"the {place}"
    assert fault_of(state) == f"first at step 5, in {where}"
    assert int(state.skipped) == 4
    assert not np.isnan(state.carry).any()
    with pytest.raises(RunError, match="first at step 5"):
        check_progress(state, most_in_a_row=0)


def test_roll_back_takes_updates_back_and_goes_on_with_the_data():
    params, data = linear_problem(9)
    optimizer = optax.adam(0.1)
    steps = make_train_steps(make(optimizer), batch_at)
    good, _ = steps(start(params, optimizer), data, 3)
    later, _ = steps(good, data, 4)
    back = roll_back(later, good)
    assert (int(back.step), int(back.skipped)) == (7, 4)
    for name in ("params", "opt_state", "carry"):
        assert_same(getattr(back, name), getattr(good, name))
    once, _ = steps(back, data, 1)
    again = roll_back(once, good)
    assert (int(again.step), int(again.skipped)) == (8, 5)


@pytest.mark.parametrize(("skipped", "refused"), [(0, False), (90, False), (91, True), (100, True)])
def test_a_run_that_skipped_nearly_all_updates_is_no_success(skipped, refused):
    state = init_train_state({"w": jnp.zeros(1)}, optax.sgd(1.0), ())
    state = state._replace(step=jnp.int32(100), skipped=jnp.int32(skipped))
    if not refused:
        check_applied(state)
        return
    with pytest.raises(RunError, match=rf"^{skipped} of 100 updates were skipped"):
        check_applied(state)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_means_and_norms_of_half_precision(dtype):
    """A sum of 1,000 ones is 1,000, a gradient of 300 is no infinity, and a truth is counted."""

    def loss_fn(params, carry, batch, key):
        one = jnp.ones((), dtype)
        return jnp.sum(params["w"] * 300), (carry, {"one": one, "is": one > 0})

    optimizer = optax.sgd(1e-6)
    state = init_train_state({"w": jnp.zeros(4, dtype)}, optimizer)
    steps = make_train_steps(make_train_step(loss_fn, optimizer, 0), lambda data, step: ())
    state, metrics = steps(state, (), 1000)
    assert int(metrics.applied) == 1000
    np.testing.assert_allclose(metrics.values["one"], 1)
    np.testing.assert_allclose(metrics.values["is"], 1)
    np.testing.assert_allclose(metrics.values["grad_norm"], 600, rtol=1e-2)


def test_chunks_of_fit_without_ends_and_with_bad_ones():
    optimizer = optax.sgd(1.0)
    loss_fn = lambda params, carry, batch, key: (jnp.sum(params), (carry, {}))  # noqa: E731
    steps = make_train_steps(make_train_step(loss_fn, optimizer, 0), lambda data, step: ())
    for ends in ((), (0,)):
        state = init_train_state(jnp.zeros(2), optimizer)
        assert [c.step for c in fit(steps, state, (), num_steps=7, ends=ends)] == [7]
    with pytest.raises(InputError, match="ends must be an integer of at least 1, got -1"):
        next(fit(steps, state, (), num_steps=7, ends=(-1,)))
