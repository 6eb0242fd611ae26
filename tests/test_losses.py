"""Losses against Optax's, with their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.losses import binary_cross_entropy


def test_binary_cross_entropy_is_that_of_optax():
    """Values, first and second derivatives, and what lies far out."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = np.concatenate([3 * rng.normal(size=40), [0.0, 60.0, -60.0]])
        y = np.concatenate([rng.random(40), [1.0, 0.0, 1.0]])
        for loss in (
            lambda f: lambda x, y: f(x, y).sum(),
            lambda f: lambda x, y: (jax.grad(lambda x: f(x, y).sum())(x) ** 2).sum(),
        ):
            ours, theirs = loss(binary_cross_entropy), loss(optax.sigmoid_binary_cross_entropy)
            np.testing.assert_allclose(jax.jit(ours)(x, y), jax.jit(theirs)(x, y), rtol=1e-12)
            for argument in (0, 1):
                np.testing.assert_allclose(
                    jax.jit(jax.grad(ours, argument))(x, y),
                    jax.jit(jax.grad(theirs, argument))(x, y),
                    rtol=1e-10,
                    atol=1e-13,
                )


def test_far_logits_are_finite():
    far = jnp.array([1e4, -1e4, 1e30])
    assert jnp.isfinite(binary_cross_entropy(far, jnp.ones(3))).all()
    assert jnp.isfinite(jax.grad(lambda x: binary_cross_entropy(x, 0.0).sum())(far)).all()


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint8])
def test_labels_that_are_no_floats(dtype):
    x, labels = jnp.array([0.3, -2.0, 1.5]), np.array([1, 0, 0])
    ours = jax.value_and_grad(lambda x: binary_cross_entropy(x, labels.astype(dtype)).sum())(x)
    floats = jnp.asarray(labels, jnp.float32)
    expected = jax.value_and_grad(lambda x: optax.sigmoid_binary_cross_entropy(x, floats).sum())(x)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-5, atol=1e-6)


def test_infinite_logits_are_right_or_infinitely_wrong():
    x = jnp.array([jnp.inf, -jnp.inf, jnp.inf, -jnp.inf, jnp.inf])
    y = jnp.array([1.0, 0.0, 0.0, 1.0, 0.25])
    assert binary_cross_entropy(x, y).tolist() == [0, 0, np.inf, np.inf, np.inf]
    assert jax.grad(lambda x: binary_cross_entropy(x, y).sum())(x).tolist() == [0, 0, 1, -1, 0.75]
    _, tangent = jax.jvp(lambda x: binary_cross_entropy(x, y), (x,), (jnp.ones(5),))
    assert tangent.tolist() == [0, 0, 1, -1, 0.75]


def test_training_takes_no_logarithm():
    program = jax.jit(jax.grad(lambda x: binary_cross_entropy(x, 1.0).sum()))
    assert "log-plus-one" not in program.lower(jnp.ones(9)).compile().as_text()
    slower = jax.jit(jax.grad(lambda x: optax.sigmoid_binary_cross_entropy(x, jnp.ones(9)).sum()))
    assert "log-plus-one" in slower.lower(jnp.ones(9)).compile().as_text()
