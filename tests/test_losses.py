"""Losses against Optax's, with their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

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


def test_training_takes_no_logarithm():
    program = jax.jit(jax.grad(lambda x: binary_cross_entropy(x, 1.0).sum()))
    assert "log-plus-one" not in program.lower(jnp.ones(9)).compile().as_text()
    slower = jax.jit(jax.grad(lambda x: optax.sigmoid_binary_cross_entropy(x, jnp.ones(9)).sum()))
    assert "log-plus-one" in slower.lower(jnp.ones(9)).compile().as_text()
