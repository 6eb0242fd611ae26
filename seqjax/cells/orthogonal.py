"""Elman networks whose recurrent matrix stays orthogonal while it is trained.

    hₜ = modReLU(W xₜ + Q hₜ₋₁)        yₜ = hₜ
    modReLU(z) = sign(z) max(0, |z| + b)                        (Arjovsky et al., 2016, eq. 8)

Q is a function of what is trained, and QᵀQ = I for all of its values:

    exp_rnn          Q = exp(A - Aᵀ)                             (Lezcano-Casado and Martinez-Rubio, 2019)
    cayley_rnn       Q = (I + S)⁻¹ (I - S) D, S = A - Aᵀ         (Helfrich et al., 2018, eq. 5)
    householder_rnn  Q = R₁ R₂ ... Rₖ, Rⱼ = I - 2 vⱼ vⱼᵀ / vⱼᵀvⱼ  (Mhammedi et al., 2017)

where A is strictly upper triangular and D diagonal with the last of its entries -1, the others 1, and fixed.
Q depends on parameters alone, so it is made once for a sequence, before the loop.

Parameters: w [D, H], b [H], and a [H, H], of which what lies above the diagonal counts; or v [k, H].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import init as initializers
from seqjax.cells.rnn import RNNState
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Cell, Initializer, Params


def exp_rnn(
    hidden_size: int,
    activation: Callable[[Array, Array], Array] | None = None,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds an RNN whose Q is the exponential of a skew-symmetric matrix.

    Q starts as rotations of pairs of units, by angles from U(-π, π) (Henaff et al., 2016).

    Args:
      hidden_size: H.
      activation: `(z, b) -> h`, elementwise; modReLU if None.
      kernel_init: draws w `[D, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """

    def start(key: Array) -> Params:
        angles = jax.random.uniform(key, (hidden_size // 2,), jnp.float32, -jnp.pi, jnp.pi)
        return {"a": _pairs(hidden_size, angles)}

    def matrix(params: Params) -> Array:
        return jax.scipy.linalg.expm(_skew(params["a"]))

    return _cell(hidden_size, activation, kernel_init, start, matrix)


def cayley_rnn(
    hidden_size: int,
    activation: Callable[[Array, Array], Array] | None = None,
    *,
    negative: int | None = None,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds an RNN whose Q is a scaled Cayley transform (scoRNN). Arguments as `exp_rnn`, and

    Args:
      hidden_size: H.
      activation: as of `exp_rnn`.
      negative: how many entries of D are -1, of which the paper has a tenth to a half; half if None.
      kernel_init: draws w `[D, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer, or negative lies outside [0, H].
    """
    check_positive("hidden_size", hidden_size)
    negative = hidden_size // 2 if negative is None else negative
    is_count = isinstance(negative, int | np.integer) and not isinstance(negative, bool)
    if not is_count or not 0 <= negative <= hidden_size:
        raise InputError(f"negative must be an integer in [0, {hidden_size}], got {negative}.")

    def start(key: Array) -> Params:
        # Their section 4.3: the transform of these is a rotation by an angle from U(0, π / 2).
        angles = jax.random.uniform(key, (hidden_size // 2,), jnp.float32, 0, jnp.pi / 2)
        return {"a": _pairs(hidden_size, jnp.tan(angles / 2))}

    def matrix(params: Params) -> Array:
        skew = _skew(params["a"])
        eye = jnp.eye(hidden_size, dtype=skew.dtype)
        signs = jnp.where(jnp.arange(hidden_size) < hidden_size - negative, 1, -1)
        return jnp.linalg.solve(eye + skew, eye - skew) * signs.astype(skew.dtype)

    return _cell(hidden_size, activation, kernel_init, start, matrix)


def householder_rnn(
    hidden_size: int,
    activation: Callable[[Array, Array], Array] | None = None,
    *,
    reflections: int | None = None,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> Cell:
    """Builds an RNN whose Q is a product of reflections. Arguments as `exp_rnn`, and

    Args:
      hidden_size: H.
      activation: as of `exp_rnn`.
      reflections: k; H if None, with which every orthogonal Q of one determinant is reached.
      kernel_init: draws w `[D, H]`.

    Raises:
      InputError: if hidden_size or reflections is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)
    reflections = hidden_size if reflections is None else reflections
    check_positive("reflections", reflections)

    def start(key: Array) -> Params:
        return {"v": jax.random.normal(key, (reflections, hidden_size), jnp.float32)}

    def matrix(params: Params) -> Array:
        def reflect(q: Array, v: Array) -> tuple[Array, None]:
            return q - 2 * jnp.outer(q @ v, v) / (v @ v), None

        eye = jnp.eye(hidden_size, dtype=params["v"].dtype)
        return jax.lax.scan(reflect, eye, params["v"])[0]

    return _cell(hidden_size, activation, kernel_init, start, matrix)


def mod_relu(z: Array, b: Array) -> Array:
    """sign(z) max(0, |z| + b); its derivative at z = 0 is 0."""
    return jnp.sign(z) * jax.nn.relu(jnp.abs(z) + b)


def _cell(
    hidden_size: int,
    activation: Callable[[Array, Array], Array] | None,
    kernel_init: Initializer,
    start: Callable[[Array], Params],
    matrix: Callable[[Params], Array],
) -> Cell:
    """The cell of what Q is made of at first, and of the function that makes Q of it."""
    check_positive("hidden_size", hidden_size)
    activation = activation or mod_relu

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key = jax.random.split(key)
        return {
            "w": kernel_init(kernel_key, (input_size, hidden_size), jnp.float32),
            "b": jnp.zeros(hidden_size, jnp.float32),
            **start(recurrent_key),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> RNNState:
        return RNNState(h=jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    def gates(params: Params, state: RNNState, x: Array) -> RNNState:
        q = matrix(jax.tree.map(at_least_float32, params)).astype(state.h.dtype)
        return RNNState(activation(x @ params["w"] + state.h @ q.T, params["b"]))

    def step(params: Params, state: RNNState, x: Array) -> tuple[RNNState, Array]:
        state = gates(params, state, x)
        return state, state.h

    return Cell(init, initial_state, step, hidden_size, gates)


def at_least_float32(a: Array) -> Array:
    """The array in no less than float32, in which alone a matrix can be called orthogonal."""
    return a if a.dtype.itemsize >= 4 else a.astype(jnp.float32)


def _skew(a: Array) -> Array:
    upper = jnp.triu(a, 1)
    return upper - upper.T


def _pairs(size: int, values: Array) -> Array:
    """Zeros `[size, size]` but for the entries that join units 0 and 1, 2 and 3, and so on."""
    first = 2 * jnp.arange(size // 2)
    return jnp.zeros((size, size), jnp.float32).at[first, first + 1].set(values)
