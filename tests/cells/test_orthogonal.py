"""Cells whose recurrent matrix cannot stop being orthogonal, and matrices that start so."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import CELLS, InputError, init, unroll
from seqjax.cells.orthogonal import cayley_rnn, exp_rnn, householder_rnn, mod_relu
from seqjax.cells.urnn import permutation, unitary
from tests.support.tiers import long_only

FACTORIES = {"exp_rnn": exp_rnn, "cayley_rnn": cayley_rnn, "householder_rnn": householder_rnn}
H = 12


def linear(z, b):
    return z + 0 * b


def matrix(cell, params):
    """Q `[H, H]` from what the linear cell makes of unit vectors."""
    eye = jnp.eye(H)
    return np.asarray(
        cell.step({**params}, cell.initial_state((H,))._replace(h=eye), jnp.zeros((H, 2)))[1]
    )


@pytest.mark.parametrize("name", ["cayley_rnn", *map(long_only, ("exp_rnn", "householder_rnn"))])
def test_stays_orthogonal_over_a_thousand_updates(name):
    cell = FACTORIES[name](H, linear)
    params = cell.init(jax.random.key(0), 2)
    optimizer = optax.adam(1e-2)
    target = jax.random.normal(jax.random.key(1), (H, H))

    @jax.jit
    def train(params):
        def loss(params):
            state = cell.initial_state((H,))._replace(h=jnp.eye(H))
            return jnp.sum((cell.step(params, state, jnp.zeros((H, 2)))[1] - target) ** 2)

        def update(_, carry):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 1000, update, (params, optimizer.init(params)))[0]

    before, after = matrix(cell, params), matrix(cell, train(params))
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after.T @ after, np.eye(H), atol=2e-6)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda a: a.astype(jnp.float64), train(params))
        state = cell.initial_state((H,))._replace(h=jnp.eye(H, dtype=jnp.float64))
        q = cell.step(exact, state, jnp.zeros((H, 2), jnp.float64))[1]
        np.testing.assert_allclose(q.T @ q, np.eye(H), atol=1e-12)


@pytest.mark.parametrize("name", FACTORIES)
def test_the_gradient_of_a_linear_network_neither_vanishes_nor_explodes(name):
    cell = FACTORIES[name](H, linear)
    params = cell.init(jax.random.key(2), 2)
    xs = jnp.zeros((1000, 1, 2))
    start = cell.initial_state((1,))
    along = jax.random.normal(jax.random.key(3), (H,))

    @jax.jit
    def norm(steps_left):
        live = jnp.array([1000 - steps_left])
        grad = jax.grad(lambda s: unroll(cell, params, xs, s, lengths=live)[0].h[0] @ along)(start)
        return jnp.linalg.norm(grad.h) / jnp.linalg.norm(along)

    for steps in (0, 500, 999):
        np.testing.assert_allclose(norm(steps), 1, rtol=1e-4)


def test_the_unitary_cell_keeps_norms_and_has_a_derivative_at_zero():
    cell = CELLS["urnn"](H)
    params = cell.init(jax.random.key(0), 3)
    order = permutation(H, 0)
    assert sorted(order) == list(range(H))
    u = np.asarray(unitary(params, jnp.eye(H, dtype=jnp.complex64), order)).T
    np.testing.assert_allclose(u.conj().T @ u, np.eye(H), atol=1e-5)
    zero = jnp.zeros((4, 1, 3))
    grads = jax.grad(lambda p: unroll(cell, p, zero)[1].sum())(params)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))


def test_mod_relu_moves_the_modulus():
    z = jnp.array([-2.0, -0.1, 0.0, 0.1, 2.0])
    np.testing.assert_allclose(mod_relu(z, jnp.full(5, -0.5)), [-1.5, 0, 0, 0, 1.5])
    np.testing.assert_allclose(mod_relu(z, jnp.full(5, 0.5)), [-2.5, -0.6, 0, 0.6, 2.5])
    assert jax.grad(mod_relu)(0.0, 0.5) == 0


def test_cayley_has_as_many_negative_signs_as_asked():
    for negative in (0, 3, H):
        cell = cayley_rnn(H, linear, negative=negative)
        q = matrix(cell, cell.init(jax.random.key(1), 2))
        assert np.sign(np.linalg.det(q)) == (-1) ** negative
    with pytest.raises(InputError, match=r"negative must be an integer in \[0, 12\], got 13"):
        cayley_rnn(H, negative=13)


def test_rotations_are_blocks_of_two():
    for size in (6, 7):
        u = np.asarray(init.rotations()(jax.random.key(0), (size, size)))
        np.testing.assert_allclose(u @ u.T, np.eye(size), atol=1e-6)
        assert np.count_nonzero(u) == 2 * (size - size % 2) + size % 2
        np.testing.assert_allclose(np.linalg.det(u), 1, rtol=1e-5)
    angles = [
        np.arctan2(u[1, 0], u[0, 0])
        for u in (np.asarray(init.rotations()(jax.random.key(k), (2, 2))) for k in range(300))
    ]
    assert min(angles) < -2.9
    assert max(angles) > 2.9
    assert abs(np.mean(angles)) < 0.4


def test_positive_definite_has_largest_eigenvalue_1():
    u = np.asarray(init.positive_definite()(jax.random.key(0), (20, 20)))
    values = np.linalg.eigvalsh(u)
    np.testing.assert_allclose(values[-1], 1, rtol=1e-5)
    assert values[0] > 0
    np.testing.assert_allclose(u, u.T, atol=1e-6)
    with pytest.raises(InputError, match=r"positive_definite\(\) needs a square matrix"):
        init.positive_definite()(jax.random.key(0), (2, 3))
