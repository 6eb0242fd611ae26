"""The minGRU, a GRU without the state in its gates (Feng et al., 2024, "Were RNNs all we needed?").

    zₜ = σ(W_z xₜ + b_z)
    nₜ = Wₙ xₜ + bₙ
    hₜ = (1 - zₜ) ⊙ hₜ₋₁ + zₜ ⊙ nₜ        yₜ = hₜ

z and n depend on x alone, so that h is affine in itself: `explain` says so, and `parallel="associative"` finds
all of its values at once.

Parameters: w [D, 2H] and b [2H] in the order z, n.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class MinState(NamedTuple):
    h: Array  # [..., H]


class MinGRUGates(NamedTuple):
    z: Array  # [..., H]
    n: Array  # [..., H]


def min_gru(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a minGRU.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      bias_init: draws b, called with the shape `[2, H]`, rows z, n; a negative z keeps the state for longer.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, bias_key = jax.random.split(key)
        draw = initializers.per_gate(kernel_init, 2)
        return {
            "w": draw(kernel_key, (input_size, 2 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (2, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> MinState:
        return MinState(jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates, update)


def gates(params: Params, state: MinState, x: Array) -> MinGRUGates:
    """The gate and the candidate of one step, each `[..., H]`."""
    z, n = jnp.split(x @ params["w"] + params["b"], 2, axis=-1)
    return MinGRUGates(jax.nn.sigmoid(z), n)


def update(params: Params, state: MinState, gates: MinGRUGates) -> tuple[MinState, Array]:
    """What the gates make of the state: `-> (state, y [..., H])`."""
    h = (1 - gates.z) * state.h + gates.z * gates.n
    return MinState(h), h


def step(params: Params, state: MinState, x: Array) -> tuple[MinState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update(params, state, gates(params, state, x))
