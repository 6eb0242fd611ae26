"""The minimal gated unit (Zhou, Wu, Zhang and Zhou, 2016): a GRU with one gate in the place of two.

    fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)
    nₜ = tanh(Wₙ xₜ + Uₙ (fₜ ⊙ hₜ₋₁) + bₙ)
    hₜ = (1 - fₜ) ⊙ hₜ₋₁ + fₜ ⊙ nₜ                yₜ = hₜ

The paper's h̃ is n here. Its forget gate f is large where the old state is replaced, and resets the
state that the candidate reads as well.

Parameters: w [D, 2H], u [H, H], u_n [H, H], b [2H], the gate before the candidate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.gru import GRUState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class MGUGates(NamedTuple):
    f: Array  # [..., H]
    n: Array  # [..., H]


def mgu(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a minimal gated unit.

    Args:
      hidden_size: H.
      kernel_init: draws each `[D, H]` in w.
      recurrent_init: draws u and u_n, each `[H, H]`.
      bias_init: draws b, called with the shape `[2, H]`, rows f, n.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, candidate_key, bias_key = jax.random.split(key, 4)
        draw_kernel = initializers.per_gate(kernel_init, 2)
        return {
            "w": draw_kernel(kernel_key, (input_size, 2 * hidden_size), jnp.float32),
            "u": recurrent_init(recurrent_key, (hidden_size, hidden_size), jnp.float32),
            "u_n": recurrent_init(candidate_key, (hidden_size, hidden_size), jnp.float32),
            "b": bias_init(bias_key, (2, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> GRUState:
        return GRUState(h=jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size, gates, update)


def gates(params: Params, state: GRUState, x: Array) -> MGUGates:
    """The gate and the candidate of one step, each `[..., H]`."""
    x_f, x_n = jnp.split(x @ params["w"] + params["b"], 2, axis=-1)
    f = jax.nn.sigmoid(x_f + state.h @ params["u"])
    n = jnp.tanh(x_n + (f * state.h) @ params["u_n"])
    return MGUGates(f, n)


def update(params: Params, state: GRUState, gates: MGUGates) -> tuple[GRUState, Array]:
    """What the gates make of the state: `-> (state, y [..., H])`."""
    f, n = gates
    h = (1 - f) * state.h + f * n
    return GRUState(h), h


def step(params: Params, state: GRUState, x: Array) -> tuple[GRUState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    return update(params, state, gates(params, state, x))
