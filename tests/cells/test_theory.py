"""What the theory says must hold exactly, for the cells and their initialisers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError, gru, init, irnn, lstm, rnn, rnn_linear, unroll
from tests.support.randomness import problem, randomise

pytestmark = pytest.mark.usefixtures("strict_promotion")


def spectrum(matrix):
    return np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_lstm_without_kernels_forgets_geometrically(steps):
    """c_T = σ(b_f)^T c_0, and so is its derivative."""
    with jax.enable_x64(True):
        cell = lstm(4)
        params, state, xs = problem(cell, steps=steps, dtype=np.float64)
        params = {name: np.zeros_like(value) for name, value in params.items()}
        b_f = np.array([-2.0, 0.0, 1.0, 5.0])
        params["b"][4:8] = b_f
        params["b"][:4] = 3.0  # an open input gate lets in g = tanh(0) = 0
        decay = (1 / (1 + np.exp(-b_f))) ** steps

        def final_c(c):
            return unroll(cell, params, xs, state._replace(c=c))[0].c

        np.testing.assert_allclose(final_c(state.c), decay * state.c, rtol=1e-12)
        jacobian = jax.jacobian(lambda c: final_c(c[None].repeat(3, 0))[0])(state.c[0])
        np.testing.assert_allclose(jacobian, np.diag(decay), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.3])
def test_scaled_orthogonal_recurrence_scales_gradients_by_s_to_the_t(scale):
    """‖∂h_T/∂h_0‖ = s^T for U = s·Q and φ = identity, in every direction."""
    steps, size = 50, 8
    with jax.enable_x64(True):
        cell = rnn_linear(size)
        params, state, xs = problem(cell, steps=steps, batch=(), dtype=np.float64)
        params["u"] = init.orthogonal(scale)(jax.random.key(1), (size, size), jnp.float64)

        def final_h(h):
            return unroll(cell, params, xs, state._replace(h=h))[0].h

        singular_values = spectrum(jax.jacobian(final_h)(state.h))
    np.testing.assert_allclose(singular_values, scale**steps, rtol=1e-9)


def test_orthogonal_identity_network_keeps_the_norm():
    with jax.enable_x64(True):
        cell = rnn_linear(8)
        params, state, xs = problem(cell, steps=200, dtype=np.float64)
        params["u"] = init.orthogonal()(jax.random.key(1), (8, 8), jnp.float64)
        params["b"] = np.zeros(8)
        final_state, _ = unroll(cell, params, 0 * xs, state)
    np.testing.assert_allclose(
        np.linalg.norm(final_state.h, axis=-1), np.linalg.norm(state.h, axis=-1), rtol=1e-12
    )


def test_tanh_gradients_stay_below_the_linear_bound():
    """‖∂h_T/∂h_0‖ <= ‖U‖^T for |φ'| <= 1 (Pascanu, Mikolov and Bengio, 2013)."""
    cell = rnn(6)
    params, state, xs = problem(cell, steps=20, batch=())
    jacobian = jax.jacobian(lambda h: unroll(cell, params, xs, state._replace(h=h))[0].h)(state.h)
    bound = spectrum(params["u"])[0] ** 20
    assert 0 < spectrum(jacobian)[0] < bound


def test_irnn_starts_as_an_integrator_of_positive_inputs():
    cell = irnn(4)
    params = cell.init(jax.random.key(0), 3)
    np.testing.assert_array_equal(params["u"], np.eye(4))
    assert 0.0003 < np.std(irnn(200).init(jax.random.key(0), 50)["w"]) < 0.003
    params["w"] = np.abs(randomise(params["w"], seed=1))
    xs = np.random.default_rng(0).uniform(size=(30, 3)).astype(np.float32)
    final_state, _ = unroll(cell, params, xs)
    np.testing.assert_allclose(final_state.h, xs.sum(0) @ params["w"], rtol=1e-5, atol=1e-5)


def test_gru_with_a_closed_update_gate_keeps_its_state():
    cell = gru(4)
    params, state, xs = problem(cell, steps=50)
    params["b"][4:8] = 1e3  # z = 1
    final_state, _ = unroll(cell, params, xs, state)
    np.testing.assert_array_equal(final_state.h, state.h)


@pytest.mark.parametrize(("factory", "gates"), [(lstm, 4), (gru, 3)])
def test_every_gate_starts_orthogonal(factory, gates):
    u = factory(16).init(jax.random.key(0), 5)["u"]
    blocks = np.split(np.asarray(u), gates, axis=1)
    for block in blocks:
        np.testing.assert_allclose(spectrum(block), 1, atol=1e-5)
    assert np.abs(blocks[0] - blocks[1]).max() > 0.1


def test_forget_bias_is_an_initial_value_of_the_forget_gate_alone():
    for bias in (-2.0, 1.0, 5.0):
        b = lstm(5, bias_init=init.forget_bias(bias)).init(jax.random.key(0), 3)["b"]
        np.testing.assert_array_equal(b.reshape(4, 5), np.outer([0, bias, 0, 0], np.ones(5)))
    default = lstm(5).init(jax.random.key(0), 3)["b"].reshape(4, 5)
    np.testing.assert_array_equal(default[1], 1)


def test_forget_bias_may_be_traced():
    def bias(value):
        return lstm(5, bias_init=init.forget_bias(value)).init(jax.random.key(0), 3)["b"][5:10]

    np.testing.assert_array_equal(
        jax.vmap(bias)(jnp.array([0.0, 3.0])), np.outer([0.0, 3.0], np.ones(5))
    )


def test_chrono_spreads_time_constants_up_to_the_longest_lag():
    i, f, g, o = init.chrono(101.0)(jax.random.key(0), (4, 4000))
    np.testing.assert_array_equal(i, -f)
    assert not np.any(g)
    assert not np.any(o)
    lags = np.exp(f)  # uniform on [1, 100]
    assert 1 <= lags.min() < 2
    assert 99 < lags.max() <= 100
    assert abs(lags.mean() - 50.5) < 2
    r, z, n = init.chrono_gru(101.0)(jax.random.key(1), (3, 4000))
    assert abs(np.exp(z).mean() - 50.5) < 2
    assert not np.any(r)
    assert not np.any(n)


def test_uniform_fills_its_symmetric_interval():
    draw = init.uniform(0.1)(jax.random.key(0), (100, 100))
    assert -0.1 <= draw.min() < -0.099
    assert 0.099 < draw.max() < 0.1
    assert abs(draw.mean()) < 0.002


def test_orthogonal_of_a_wide_matrix_has_orthonormal_rows():
    q = np.asarray(init.orthogonal(1.5)(jax.random.key(0), (4, 9)))
    np.testing.assert_allclose(q @ q.T, 1.5**2 * np.eye(4), atol=1e-5)


def test_sparse_has_15_incoming_connections_and_the_given_spectral_radius():
    keys = jax.random.split(jax.random.key(0), 3)
    for u in np.asarray(jax.vmap(lambda key: init.sparse()(key, (50, 50)))(keys)):
        np.testing.assert_array_equal((u != 0).sum(axis=0), 15)  # into each unit, as in h @ u
        assert {*(u != 0).sum(axis=1)} != {15}
        assert abs(np.abs(np.linalg.eigvals(u)).max() - 0.95) < 1e-5
        assert abs(u.mean() / u.std()) < 0.1
    small = np.asarray(init.sparse(spectral_radius=2.0)(keys[0], (10, 10)))
    assert np.all(small != 0)
    assert abs(np.abs(np.linalg.eigvals(small)).max() - 2.0) < 1e-5


def test_initialisers_refuse_what_they_cannot_draw():
    with pytest.raises(InputError, match=r"square matrix, got the shape \(2, 3\)"):
        init.identity()(jax.random.key(0), (2, 3))
    with pytest.raises(InputError, match=r"max_lag above 2 steps, got 1.5"):
        init.chrono(1.5)(jax.random.key(0), (4, 3))
    with pytest.raises(
        InputError, match=r"sparse\(\) needs a square matrix, got the shape \(2, 3\)"
    ):
        init.sparse()(jax.random.key(0), (2, 3))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "initializer", [init.orthogonal(), init.positive_definite(), init.sparse(), init.rotations()]
)
def test_initialisers_of_half_precision_are_rounded_ones(initializer, dtype):
    """Their singular values are those in float32, up to rounding."""
    found, exact = (initializer(jax.random.key(0), (6, 6), d) for d in (dtype, jnp.float32))
    assert found.dtype == dtype
    np.testing.assert_allclose(spectrum(found), spectrum(exact), atol=0.02)


def test_initialisers_refuse_what_has_no_meaning():
    for make in (lambda: init.sparse(0), lambda: init.sparse(2, stddev=0.0)):
        with pytest.raises(InputError):
            make()
    with pytest.raises(InputError, match=r"cannot divide \(8, 10\) among 4 gates"):
        init.per_gate(init.normal(), 4)(jax.random.key(0), (8, 10))
    for bias in (init.forget_bias(1.0), init.chrono(9), init.chrono_gru(9)):
        with pytest.raises(InputError, match="with G of at least 2"):
            bias(jax.random.key(0), (1, 4))
