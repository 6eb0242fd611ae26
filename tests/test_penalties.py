"""Penalties against their definitions in NumPy, with NaN in the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError, penalties

T, B, H = 6, 3, 4
LENGTHS = np.array([6, 1, 3])


@pytest.fixture
def hs():
    hs = np.random.default_rng(0).normal(size=(T, B, H)).astype(np.float32)
    hs[2, 0] = 0  # a norm of zero has no derivative
    return hs


def rows(hs):
    return [hs[: LENGTHS[row], row].astype(np.float64) for row in range(B)]


def expected(name, hs):
    if name == "norm_stabiliser":
        values = [np.diff(np.linalg.norm(row, axis=1)) ** 2 for row in rows(hs)]
    elif name == "activation":
        values = [(row**2).mean(1) for row in rows(hs)]
    else:
        values = [(np.diff(row, axis=0) ** 2).mean(1) for row in rows(hs)]
    return np.concatenate(values).mean()


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["norm_stabiliser", "activation", "temporal_activation"])
def test_is_the_mean_over_valid_steps(name, hs):
    penalty = getattr(penalties, name)
    padded = np.where(np.arange(T)[:, None, None] < LENGTHS[:, None], hs, np.nan)
    value, gradient = jax.value_and_grad(penalty)(jnp.array(padded), jnp.array(LENGTHS))
    np.testing.assert_allclose(value, expected(name, hs), rtol=1e-5)
    assert np.all(np.isfinite(gradient))
    assert not np.any(np.where(np.arange(T)[:, None, None] < LENGTHS[:, None], 0, gradient))
    np.testing.assert_allclose(penalty(hs), penalty(hs, np.full(B, T)), rtol=1e-6)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["norm_stabiliser", "activation", "temporal_activation"])
def test_gradients_equal_finite_differences(name):
    with jax.enable_x64(True):
        hs = np.random.default_rng(1).normal(size=(T, B, H))
        direction = np.random.default_rng(2).normal(size=hs.shape)
        penalty = getattr(penalties, name)
        slope = (penalty(hs + 1e-6 * direction) - penalty(hs - 1e-6 * direction)) / 2e-6
        gradient = jax.grad(penalty)(jnp.array(hs))
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-6)


def test_orthogonality_is_zero_for_orthogonal_gates_alone():
    draw = jax.nn.initializers.orthogonal()
    gates = [draw(jax.random.key(k), (4, 4)) for k in range(3)]
    assert penalties.orthogonality(gates[0]) < 1e-10
    assert penalties.orthogonality(jnp.concatenate(gates, 1)) < 1e-10
    np.testing.assert_allclose(penalties.orthogonality(2 * jnp.eye(3)), 27, rtol=1e-6)
    np.testing.assert_allclose(
        penalties.orthogonality(jnp.concatenate([2 * jnp.eye(3), jnp.eye(3)], 1)), 27, rtol=1e-6
    )


def test_sequences_that_are_too_short_are_refused():
    with pytest.raises(InputError, match="T of at least 2, got shape"):
        penalties.norm_stabiliser(jnp.ones((1, 2, 3)))
    with pytest.raises(InputError, match=r"hs must be \[T, B, H\]"):
        penalties.activation(jnp.ones((2, 3)))


def test_penalties_of_half_precision_do_not_overflow():
    hs = jnp.ones((700, 100, 1), jnp.float16)
    np.testing.assert_allclose(penalties.activation(hs), 1)
