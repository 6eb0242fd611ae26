"""The exact statements of the theory, measured on cells of seqjax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import diagnose, gru, init, lstm, rnn, rnn_linear, rnn_relu
from seqjax.cells.gru import GRUState
from seqjax.cells.lstm import LSTMState
from seqjax.types import Array, Cell

SCALES = (0.9, 1.0, 1.1)
FORGET = (0.99, 0.9)


def logit(p: float) -> float:
    """The bias at which a gate has the value p when its inputs are zero."""
    return float(np.log(p / (1 - p)))


def log_norms(cell: Cell, u: Array, steps: int, **biases: Array) -> np.ndarray:
    """log ‖∂h_T/∂h_k‖₂ by lag, 1 to T, for the recurrent matrix u and zero inputs."""
    params = cell.init(jax.random.key(0), 1)
    params = {**params, "w": jnp.zeros_like(params["w"]), "u": u, **biases}
    run = jax.jit(lambda p, xs: diagnose.log_singular_values(cell, p, xs)[::-1, 0])
    return np.asarray(run(params, jnp.zeros((steps, 1))))


def rises_then_vanishes(radius: float = 0.9, shear: float = 2.0) -> Array:
    """A matrix whose eigenvalues are `radius`, but whose largest singular value is above 1."""
    return jnp.array([[radius, shear], [0.0, radius]])


def linear_theory(steps: int) -> dict[str, Any]:
    """‖∂h_T/∂h_k‖ against s^lag, and a matrix where singular values and eigenvalues disagree."""
    size, lags = 16, np.arange(1, steps + 1)
    curves, worst = {}, 0.0
    for scale in SCALES:
        u = init.orthogonal(scale)(jax.random.key(1), (size, size), jnp.float32)
        measured = log_norms(rnn_linear(size), u, steps)
        curves[str(scale)] = measured.tolist()
        worst = max(worst, float(np.max(np.abs(measured - lags * np.log(scale)))))
    u = rises_then_vanishes()
    measured = log_norms(rnn_linear(2), u, steps)
    curves["sheared"] = measured.tolist()
    spectrum = diagnose.spectrum(u)
    return {
        "log_norms": curves,
        "largest_error_of_log": worst,
        "sheared": {
            "largest_singular_value": float(spectrum.singular_values[0, 0]),
            "spectral_radius": float(spectrum.radius[0]),
            "peak": float(np.exp(measured.max())),
            "peak_lag": int(measured.argmax()) + 1,
            "end": float(np.exp(measured[-1])),
        },
    }


def small_singular_values_suffice(draws: int = 200, size: int = 16, steps: int = 100) -> dict:
    """Checks ‖∂h_T/∂h_k‖ <= σ₁^lag for tanh (γ = 1) on random matrices with σ₁ = 0.95.

    And that σ₁ < 1 is not necessary: how many draws with σ₁ = 1.5 vanish all the same.
    """
    cell = rnn(size)
    template = cell.init(jax.random.key(0), size)

    def measure(key: Array, largest: Array) -> Array:
        u_key, x_key, b_key = jax.random.split(key, 3)
        u = jax.random.normal(u_key, (size, size))
        u = largest * u / jnp.linalg.norm(u, 2)
        params = {**template, "u": u, "b": 0.3 * jax.random.normal(b_key, (size,))}
        xs = jax.random.normal(x_key, (steps, size))
        return diagnose.log_singular_values(cell, params, xs)[::-1, 0]

    run = jax.jit(jax.vmap(measure, in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(2), draws)
    lags = np.arange(1, steps + 1)
    # The bound can hold with equality, so rounding is allowed for.
    above = np.any(np.asarray(run(keys, 0.95)) > lags * np.log(0.95) + 1e-4, axis=1)
    vanished = np.asarray(run(keys, 1.5))[:, -1] < np.log(1e-3)
    return {
        "draws": draws,
        "above_the_bound": int(above.sum()),
        "vanished_with_large": int(vanished.sum()),
    }


def explodes_with_zero_eigenvalues(steps: int = 50) -> dict[str, float]:
    """A ReLU network whose recurrent matrix has no eigenvalue but 0, and whose gradient doubles.

    Uᵀ = [[2, -2], [2, -2]] is nilpotent; with the second unit off, diag(φ') Uᵀ = [[2, -2], [0, 0]]
    has the eigenvalue 2. The first unit sits at its fixed point: 2·1 - 1 = 1.
    """
    u = jnp.array([[2.0, 2.0], [-2.0, -2.0]])
    cell = rnn_relu(2)
    params = {"w": jnp.zeros((1, 2)), "u": u, "b": jnp.array([-1.0, -10.0])}
    state = cell.initial_state(())._replace(h=jnp.array([1.0, 0.0]))
    log_norm = diagnose.log_singular_values(cell, params, jnp.zeros((steps, 1)), state)[0, 0]
    return {
        "spectral_radius": float(diagnose.spectrum(u).radius[0]),
        "growth_per_step": float(np.exp((log_norm - np.log(np.sqrt(2))) / steps)),
    }


def scalar_decays(steps: int = 100) -> dict[str, Any]:
    """log ∂s_T/∂s_k of one unit by lag: a factor 0.5 per step, and an LSTM's cell state."""
    half = log_norms(rnn_linear(1), jnp.array([[0.5]]), steps)
    curves = {"rnn 0.5": half.tolist()}
    cell = lstm(1)
    for f in FORGET:
        params = {"w": jnp.zeros((1, 4)), "u": jnp.zeros((1, 4)), "b": jnp.zeros(4)}
        params["b"] = params["b"].at[1].set(logit(f))
        gradients = diagnose.state_gradients(
            cell, params, jnp.zeros((steps, 1)), lambda state, y: state.c[..., 0]
        )
        log_c = gradients.log_norm + jnp.log(jnp.abs(gradients.direction.c[:, 0]))
        curves[f"lstm {f}"] = np.asarray(log_c)[::-1].tolist()
    return curves


def lstm_flip() -> dict[str, float]:
    """One step of an LSTM whose memory goes from plural (+) to singular (-).

    The gates are set by their biases. The numbers are ours: those of the slide are in a picture.
    """
    c, i, f, g, o = 0.9, 0.9, 0.1, -0.9, 0.9
    biases = jnp.array([logit(i), logit(f), np.arctanh(g), logit(o)])
    params = {"w": jnp.zeros((1, 4)), "u": jnp.zeros((1, 4)), "b": biases}
    state = LSTMState(h=jnp.zeros(1), c=jnp.array([c]))
    new, y = lstm(1).step(params, state, jnp.zeros(1))
    return {"c": c, "f": f, "i": i, "g": g, "new_c": float(new.c[0]), "new_h": float(y[0])}


def gru_cases() -> list[dict[str, float]]:
    """One step of a GRU that keeps its state, and one that replaces it.

    `kept` is the share of the old state, z in seqjax and in Cho et al. (2014), 1 - z on the slides.
    """
    cases = []
    for kept in (0.9, 0.1):
        h, candidate = 0.8, -0.5
        params = {"w": jnp.zeros((1, 3)), "u": jnp.zeros((1, 3)), "b_hn": jnp.zeros(1)}
        params["b"] = jnp.array([0.0, logit(kept), np.arctanh(candidate)])
        new, _ = gru(1).step(params, GRUState(h=jnp.array([h])), jnp.zeros(1))
        cases.append({"h": h, "candidate": candidate, "kept": kept, "new_h": float(new.h[0])})
    return cases
