"""Initialisers with the signature of `jax.nn.initializers`: `(key, shape, dtype) -> array`.

A gated cell keeps its gates side by side in one kernel `[D, G·H]`. `per_gate` draws each gate
by itself: an orthogonal draw of the whole `[H, 4H]` matrix is orthogonal in no gate.

Bias initialisers are called with the shape `[G, H]`, one row per gate in the cell's own gate
order, so that a gate's bias is an initial value and never a constant inside the step.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from seqjax.errors import InputError, check_not_negative, check_positive, check_rate
from seqjax.types import Array, Initializer

zeros = jax.nn.initializers.zeros
normal = jax.nn.initializers.normal
lecun_normal = jax.nn.initializers.lecun_normal
glorot_uniform = jax.nn.initializers.glorot_uniform


def uniform(limit: float) -> Initializer:
    """U(-limit, limit), as in Zaremba et al. (2014) and char-rnn."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def orthogonal(scale: float = 1.0) -> Initializer:
    """`scale` times a uniformly drawn orthogonal matrix (Saxe et al., 2014).

    Every singular value is `scale`: the norm of a linear recurrence grows as scale^T.
    """
    return _in_float32(jax.nn.initializers.orthogonal(scale))


def identity(scale: float = 1.0) -> Initializer:
    """`scale` times the identity; with ReLU this is the IRNN (Le, Jaitly, Hinton, 2015)."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        del key
        return scale * jnp.eye(_square_size("identity", shape), dtype=dtype)

    return init


def positive_definite() -> Initializer:
    """The np-RNN's recurrent matrix: positive definite, its largest eigenvalue 1 (Talathi and Vartak, 2016).

    (A + I) / λ, with A = RᵀR / H of a standard normal R and λ the largest eigenvalue of A + I. Their
    network is one of ReLUs.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        size = _square_size("positive_definite", shape)
        normal = jax.random.normal(key, shape, dtype)
        matrix = normal.T @ normal / size + jnp.eye(size, dtype=dtype)
        return matrix / jnp.linalg.eigvalsh(matrix)[-1]

    return _in_float32(init)


def rotations() -> Initializer:
    """Rotations of pairs of units by angles from U(-π, π): orthogonal, blocks of 2 x 2 (Henaff et al., 2016).

    The last unit of an odd number is left as it is.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        size = _square_size("rotations", shape)
        angles = jax.random.uniform(key, (size // 2,), dtype, -jnp.pi, jnp.pi)
        first = 2 * jnp.arange(size // 2)
        matrix = jnp.eye(size, dtype=dtype)
        matrix = matrix.at[first, first].set(jnp.cos(angles))
        matrix = matrix.at[first + 1, first + 1].set(jnp.cos(angles))
        matrix = matrix.at[first, first + 1].set(-jnp.sin(angles))
        return matrix.at[first + 1, first].set(jnp.sin(angles))

    return init


def sparse(
    incoming: int = 15, *, spectral_radius: float = 0.95, stddev: float = 0.01
) -> Initializer:
    """A sparse recurrent matrix `[H, H]`: `incoming` connections to every unit, the others zero.

    The connections are N(0, stddev), then the matrix is scaled to the given spectral radius, after
    which stddev no longer matters. The defaults are the "smart tanh" of Pascanu, Mikolov and Bengio
    (2013), whose code keeps 15 of every unit's outgoing, not incoming, connections. A matrix of
    fewer than `incoming` units is dense.

    Raises:
      InputError: if a number is out of range; when called with a shape that is not square.
    """
    check_positive("incoming", incoming)
    check_rate("stddev", stddev)
    check_not_negative("spectral_radius", spectral_radius)

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        _square_size("sparse", shape)
        rank_key, value_key = jax.random.split(key)
        ranks = jax.random.uniform(rank_key, shape).argsort(axis=0).argsort(axis=0)
        matrix = stddev * jax.random.normal(value_key, shape, dtype)
        matrix = jnp.where(ranks < incoming, matrix, jnp.zeros_like(matrix))
        return matrix * (spectral_radius / jnp.abs(jnp.linalg.eigvals(matrix)).max())

    return _in_float32(init)


def per_gate(initializer: Initializer, num_gates: int) -> Initializer:
    """Draws a kernel `[D, G·H]` as `num_gates` independent draws of `[D, H]`, side by side."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        if shape[-1] % num_gates:
            raise InputError(f"per_gate() cannot divide {shape} among {num_gates} gates.")
        gate_shape = (*shape[:-1], shape[-1] // num_gates)
        keys = jax.random.split(key, num_gates)
        return jnp.concatenate([initializer(k, gate_shape, dtype) for k in keys], axis=-1)

    return init


def forget_bias(value: float | Array) -> Initializer:
    """LSTM gate biases `[4, H]` (order i, f, g, o): `value` for f, zero for the others.

    1 is the advice of Gers et al. (2000) and Jozefowicz et al. (2015).
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        del key
        _check_gates("forget_bias", shape)
        return jnp.zeros(shape, dtype).at[1].set(value)

    return init


def chrono(max_lag: float) -> Initializer:
    """LSTM gate biases `[4, H]` whose time constants are spread over [1, max_lag].

    b_f = log U(1, max_lag - 1), b_i = -b_f, the others zero (Tallec and Ollivier, 2018).
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        _check_gates("chrono", shape)
        b_f = _log_lags(key, shape[1:], dtype, max_lag)
        return jnp.zeros(shape, dtype).at[0].set(-b_f).at[1].set(b_f)

    return init


def chrono_gru(max_lag: float) -> Initializer:
    """GRU gate biases `[3, H]` (order r, z, n) with time constants spread over [1, max_lag].

    b_z = log U(1, max_lag - 1): in seqjax z is the share of the old state that is kept
    (Tallec and Ollivier, 2018, whose z is one minus ours).
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        _check_gates("chrono_gru", shape)
        return jnp.zeros(shape, dtype).at[1].set(_log_lags(key, shape[1:], dtype, max_lag))

    return init


def _in_float32(initializer: Initializer) -> Initializer:
    """The initialiser for half precision too, in which there is no linear algebra: drawn in float32, and rounded."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        is_half = jnp.dtype(dtype).itemsize < 4
        return initializer(key, shape, jnp.float32 if is_half else dtype).astype(dtype)

    return init


def _check_gates(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[0] < 2:
        raise InputError(f"{name}() is of gates' biases [G, H] with G of at least 2, got {shape}.")


def _log_lags(key: Array, shape: tuple[int, ...], dtype: DTypeLike, max_lag: float) -> Array:
    if not max_lag > 2:
        raise InputError(f"chrono initialisation needs max_lag above 2 steps, got {max_lag}.")
    return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, max_lag - 1.0))


def _square_size(name: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(f"{name}() needs a square matrix, got the shape {shape}.")
    return shape[0]
