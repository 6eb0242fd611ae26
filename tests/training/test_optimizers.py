"""Schedules at exact steps, and optimizers against their equations in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.errors import InputError
from seqjax.training.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_constant():
    assert set(rates(make_schedule("constant", 0.3, num_steps=9), range(20))) == {0.3}


@pytest.mark.parametrize(
    ("decay_after", "factor", "epochs", "steps_per_epoch"),
    [(4, 0.5, 13, 7), (10, 0.97, 50, 3), (1, 0.5, 5, 4), (0, 0.5, 5, 4), (6, 0.8, 9, 1)],
)
@pytest.mark.parametrize("warmup_steps", [0, 2])
def test_step_decay_counts_epochs_from_the_start(
    decay_after, factor, epochs, steps_per_epoch, warmup_steps
):
    """Zaremba et al.: 4 epochs at the full rate, then halved at each; char-rnn: 10, then 0.97."""
    schedule = make_schedule(
        "step",
        2.0,
        num_steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        decay_after=decay_after,
        decay_factor=factor,
        warmup_steps=warmup_steps,
    )
    steps = np.arange(warmup_steps, epochs * steps_per_epoch)
    epoch = steps // steps_per_epoch + 1
    expected = 2.0 * factor ** np.maximum(epoch - decay_after, 0)
    np.testing.assert_allclose(rates(schedule, steps), expected, rtol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_rises_linearly_from_zero(name):
    schedule = make_schedule(
        name, 0.8, num_steps=40, steps_per_epoch=10, decay_after=2, warmup_steps=5
    )
    np.testing.assert_allclose(rates(schedule, range(6)), 0.8 * np.arange(6) / 5, rtol=1e-6)


@pytest.mark.parametrize("warmup_steps", [0, 6])
def test_cosine_falls_to_zero_at_the_last_step(warmup_steps):
    schedule = make_schedule("cosine", 0.4, num_steps=30, warmup_steps=warmup_steps)
    steps = np.arange(warmup_steps, 31)
    expected = 0.2 * (1 + np.cos(np.pi * (steps - warmup_steps) / (30 - warmup_steps)))
    np.testing.assert_allclose(rates(schedule, steps), expected, atol=1e-7)
    assert float(schedule(30)) == 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("constant", {"learning_rate": math.nan}, "learning_rate must be .* got nan"),
        ("constant", {"learning_rate": math.inf}, "learning_rate must be .* got inf"),
        ("cosine", {"learning_rate": 0.0}, r"learning_rate must be .* got 0\.0"),
        ("step", {"learning_rate": -1.0}, r"learning_rate must be .* got -1\.0"),
        ("step", {"decay_factor": 0.0}, r"decay_factor must be .* got 0\.0"),
        ("step", {"decay_factor": math.nan}, "decay_factor must be .* got nan"),
        ("cosine", {"warmup_steps": 10}, "the 10 steps of the run, got 10"),
        ("cosine", {"warmup_steps": -1}, "got -1"),
        ("linear", {}, "unknown schedule 'linear'; choose one of constant, step, cosine"),
    ],
)
def test_bad_schedules_are_refused(name, change, message):
    with pytest.raises(InputError, match=message):
        make_schedule(name, **{"learning_rate": 1.0, "num_steps": 10} | change)


def updates(optimizer, grads, params):
    """The parameters after each gradient, by Optax."""
    state, history = optimizer.init(params), []
    for grad in grads:
        update, state = optimizer.update(grad, state, params)
        params = jax.tree.map(jnp.add, params, update)
        history.append(params)
    return history


def random_problem(seed, count=6):
    rng = np.random.default_rng(seed)

    def draw():
        return {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}

    return [jax.tree.map(lambda g: g.astype(np.float32), draw()) for _ in range(count)], draw()


def reference(name, grads, x, rate):
    """One array's history in float64; PyTorch's and char-rnn's own conventions."""
    m, v, history = np.zeros_like(x), np.zeros_like(x), []
    for t, g in enumerate(np.asarray(grads, np.float64), 1):
        match name:
            case "sgd":
                step = g
            case "momentum":
                m = 0.8 * m + g
                step = m
            case "nesterov":
                m = 0.8 * m + g
                step = g + 0.8 * m
            case "rmsprop":
                v = 0.95 * v + 0.05 * g**2
                step = g / (np.sqrt(v) + 1e-8)
            case "adam" | "adamw":
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
                step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
                step = step + (0.3 * x if name == "adamw" else 0)
        x = x - rate * step
        history.append(x)
    return history


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_equal_numpy(name):
    grads, start = random_problem(OPTIMIZERS.index(name))
    extra = {"weight_decay": 0.3} if name == "adamw" else {}
    optimizer = make_optimizer(name, 0.1, momentum=0.8, rms_decay=0.95, **extra)
    history = updates(optimizer, grads, jax.tree.map(jnp.float32, start))
    for leaf in start:
        expected = reference(name, [g[leaf] for g in grads], start[leaf], 0.1)
        actual = [params[leaf] for params in history]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_schedule_is_read_at_the_number_of_earlier_updates():
    grads, start = random_problem(9)
    schedule = make_schedule("cosine", 0.5, num_steps=8, warmup_steps=2)
    history = updates(make_optimizer("sgd", schedule), grads, jax.tree.map(jnp.float32, start))
    total = sum(float(schedule(t)) * g["b"] for t, g in enumerate(grads))
    np.testing.assert_allclose(history[-1]["b"], start["b"] - total, rtol=1e-5, atol=1e-6)


def first_update(grads, **clip):
    return jax.tree.map(
        lambda p: -np.asarray(p),
        updates(make_optimizer("sgd", 1.0, **clip), [grads], jax.tree.map(jnp.zeros_like, grads))[
            0
        ],
    )


def test_clipping_is_exact():
    (grads, *_), _ = random_problem(10)
    norm = math.sqrt(sum(np.sum(g**2) for g in grads.values()))
    clipped = first_update(grads, clip_norm=norm / 3)
    for leaf, grad in grads.items():
        np.testing.assert_allclose(clipped[leaf], grad / 3, rtol=1e-5)
        np.testing.assert_array_equal(first_update(grads, clip_norm=norm * 1.01)[leaf], grad)
        clipped_value = first_update(grads, clip_value=0.5)[leaf]
        np.testing.assert_array_equal(clipped_value, np.clip(grad, -0.5, 0.5))
        np.testing.assert_array_equal(first_update(grads)[leaf], grad)


def test_values_are_clipped_before_the_norm():
    grads = {"a": np.array([30.0, -0.4], np.float32), "b": np.array([-2.0], np.float32)}
    clipped = first_update(grads, clip_value=1.0, clip_norm=0.5)
    by_value = np.array([1.0, -0.4, -1.0])
    expected = 0.5 * by_value / np.linalg.norm(by_value)
    np.testing.assert_allclose(np.concatenate([*clipped.values()]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("lion", {}, "unknown optimizer 'lion'; choose one of sgd, "),
        ("sgd", {"clip_norm": -1.0}, r"clip_norm must be .* got -1\.0"),
        ("sgd", {"clip_norm": math.inf}, "clip_norm must be .* got inf"),
        ("sgd", {"clip_value": math.nan}, "clip_value must be .* got nan"),
        ("sgd", {"weight_decay": 0.1}, "weight_decay needs optimizer 'adamw', got 'sgd'"),
        ("adamw", {"weight_decay": -0.1}, r"weight_decay must be .* got -0\.1"),
        ("sgd", {"learning_rate": math.nan}, "learning_rate must be .* got nan"),
        ("sgd", {"learning_rate": -1.0}, r"learning_rate must be .* got -1\.0"),
        ("momentum", {"momentum": 1.5}, r"momentum must .* got 1\.5"),
        ("rmsprop", {"rms_decay": math.nan}, "rms_decay must .* got nan"),
    ],
)
def test_bad_optimizers_are_refused(name, change, message):
    with pytest.raises(InputError, match=message):
        make_optimizer(name, **{"learning_rate": 0.1} | change)


def test_the_noise_of_successive_gradients_differs():
    rule = make_optimizer("sgd", 1.0, gradient_noise=1.0)
    params = {"w": jnp.zeros(50)}
    state, drawn = rule.init(params), []
    for _ in range(2):
        change, state = rule.update(jax.tree.map(jnp.zeros_like, params), state, params)
        drawn.append(np.asarray(change["w"]))
    assert abs(np.corrcoef(*drawn)[0, 1]) < 0.6
