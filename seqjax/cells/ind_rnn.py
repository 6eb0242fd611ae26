"""The independently recurrent network (Li et al., 2018, eq. 2).

    hₜ = ReLU(W xₜ + u ⊙ hₜ₋₁ + b)        yₜ = hₜ

Every unit reads itself alone, so that its memory is |u|ᵀ over T steps.

Parameters: w [D, H], u [H], b [H].
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.rnn import RNNState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


def ind_rnn(
    hidden_size: int,
    *,
    max_weight: float = 1.0,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds an IndRNN.

    Args:
      hidden_size: H.
      max_weight: u starts in U(0, max_weight); the paper bounds it by 2^(1/T).
      kernel_init: draws w `[D, H]`.
      bias_init: draws b, called with the shape `[1, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        return {
            "w": kernel_init(kernel_key, (input_size, hidden_size), jnp.float32),
            "u": jax.random.uniform(recurrent_key, (hidden_size,), jnp.float32, 0, max_weight),
            "b": bias_init(bias_key, (1, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> RNNState:
        return RNNState(jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates)


def gates(params: Params, state: RNNState, x: Array) -> RNNState:
    """The new h `[..., H]`, as a plain network has it."""
    return RNNState(jax.nn.relu(x @ params["w"] + params["u"] * state.h + params["b"]))


def step(params: Params, state: RNNState, x: Array) -> tuple[RNNState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    state = gates(params, state, x)
    return state, state.h
