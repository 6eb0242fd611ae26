"""The minLSTM, an LSTM without the state in its gates (Feng et al., 2024, "Were RNNs all we needed?").

    fₜ = σ(W_f xₜ + b_f)        iₜ = σ(Wᵢ xₜ + bᵢ)
    nₜ = Wₙ xₜ + bₙ
    hₜ = (fₜ ⊙ hₜ₋₁ + iₜ ⊙ nₜ) / (fₜ + iₜ)        yₜ = hₜ

The gates are divided by their sum, so that the state keeps its scale over any number of steps.

Parameters: w [D, 3H] and b [3H] in the order f, i, n.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.min_gru import MinState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class MinLSTMGates(NamedTuple):
    f: Array  # [..., H], divided by f + i
    i: Array  # [..., H], the same
    n: Array  # [..., H]


def min_lstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a minLSTM.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      bias_init: draws b, called with the shape `[3, H]`, rows f, i, n.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, bias_key = jax.random.split(key)
        draw = initializers.per_gate(kernel_init, 3)
        return {
            "w": draw(kernel_key, (input_size, 3 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (3, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> MinState:
        return MinState(jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates, update)


def gates(params: Params, state: MinState, x: Array) -> MinLSTMGates:
    """The gates and the candidate of one step, each `[..., H]`.

    f / (f + i) is σ(ln f - ln i), which no sum of small numbers divides.
    """
    f, i, n = jnp.split(x @ params["w"] + params["b"], 3, axis=-1)
    more = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
    return MinLSTMGates(jax.nn.sigmoid(more), jax.nn.sigmoid(-more), n)


def update(params: Params, state: MinState, gates: MinLSTMGates) -> tuple[MinState, Array]:
    """What the gates make of the state: `-> (state, y [..., H])`."""
    f, i, n = gates
    h = f * state.h + i * n
    return MinState(h), h


def step(params: Params, state: MinState, x: Array) -> tuple[MinState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update(params, state, gates(params, state, x))
