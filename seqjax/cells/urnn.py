"""The unitary evolution RNN (Arjovsky, Shah and Bengio, 2016).

    zₜ = U hₜ₋₁ + V xₜ        hₜ = modReLU(zₜ)        yₜ = [Re hₜ, Im hₜ]
    U = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁                                                     (their eq. 6)
    modReLU(z) = z max(0, |z| + b) / |z|, 0 at z = 0                               (their eq. 8)

over complex hₜ. D are diagonal with entries exp(iθ), R = I - 2 v v* / ‖v‖² are reflections, F is the
unitary Fourier transform and Π a permutation, drawn once from `permutation_seed` and never trained. U costs
H log H operations, not H².

The state h is real, [..., 2H]: the real parts and then the imaginary ones. The cell starts from zeros where
the paper trains the first state.

Parameters: w [D, 2H] (V, its real and imaginary parts), b [H], theta [3, H], and v [2, 2, H], the two
reflections' real and imaginary parts.
"""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import init as initializers
from seqjax.cells.orthogonal import at_least_float32
from seqjax.cells.rnn import RNNState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


def urnn(
    hidden_size: int,
    *,
    permutation_seed: int = 0,
    kernel_init: Initializer = initializers.glorot_uniform(),
) -> Cell:
    """Builds a unitary evolution RNN.

    Args:
      hidden_size: H, complex units; the output has 2H numbers.
      permutation_seed: of Π.
      kernel_init: draws w `[D, 2H]`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)
    order = permutation(hidden_size, permutation_seed)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, phase_key, reflection_key = jax.random.split(key, 3)
        shape = (2, 2, hidden_size)
        return {
            "w": kernel_init(kernel_key, (input_size, 2 * hidden_size), jnp.float32),
            "b": jnp.zeros(hidden_size, jnp.float32),
            "theta": jax.random.uniform(phase_key, (3, hidden_size), jnp.float32, -jnp.pi, jnp.pi),
            "v": jax.random.uniform(reflection_key, shape, jnp.float32, -1.0, 1.0),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> RNNState:
        return RNNState(h=jnp.zeros((*batch_shape, 2 * hidden_size), jnp.float32))

    def gates(params: Params, state: RNNState, x: Array) -> RNNState:
        # There is no complex number narrower than of two float32.
        turned = unitary(params, _complex(at_least_float32(state.h)), order)
        z = jnp.concatenate([turned.real, turned.imag], -1).astype(state.h.dtype)
        z = z + x @ params["w"]
        real, imaginary = jnp.split(z, 2, axis=-1)
        square = real * real + imaginary * imaginary
        size = jnp.sqrt(jnp.where(square > 0, square, 1))  # at 0 the root has no derivative
        scale = jnp.where(square > 0, jax.nn.relu(size + params["b"]) / size, 0)
        return RNNState(z * jnp.concatenate([scale, scale], -1))

    def step(params: Params, state: RNNState, x: Array) -> tuple[RNNState, Array]:
        state = gates(params, state, x)
        return state, state.h

    return Cell(init, initial_state, step, 2 * hidden_size, gates)


def unitary(params: Params, h: Array, order: np.ndarray) -> Array:
    """U h of complex h `[..., H]`."""
    d1, d2, d3 = jnp.exp(_imaginary(params["theta"].astype(h.real.dtype)))
    v = params["v"].astype(h.real.dtype)
    r1, r2 = jax.lax.complex(v[:, 0], v[:, 1])
    h = jnp.fft.fft(d1 * h, norm="ortho")
    h = _reflect(r1, h)[..., order]
    h = jnp.fft.ifft(d2 * h, norm="ortho")
    return d3 * _reflect(r2, h)


def permutation(hidden_size: int, seed: int) -> np.ndarray:
    """Π as an order of the units `[H]`."""
    return np.random.default_rng(seed).permutation(hidden_size).astype(np.int32)


def _reflect(v: Array, h: Array) -> Array:
    along = (h * v.conj()).sum(-1, keepdims=True)
    return h - v * (along / ((v * v.conj()).sum() / 2))


def _complex(pair: Array) -> Array:
    return jax.lax.complex(*jnp.split(pair, 2, axis=-1))


def _imaginary(angles: Array) -> Array:
    return jax.lax.complex(jnp.zeros_like(angles), angles)
