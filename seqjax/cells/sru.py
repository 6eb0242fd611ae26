"""The simple recurrent unit (Lei et al., 2018, eq. 1 to 4).

    fₜ = σ(W_f xₜ + v_f ⊙ cₜ₋₁ + b_f)
    rₜ = σ(Wᵣ xₜ + vᵣ ⊙ cₜ₋₁ + bᵣ)
    cₜ = fₜ ⊙ cₜ₋₁ + (1 - fₜ) ⊙ (W xₜ)
    yₜ = rₜ ⊙ cₜ + (1 - rₜ) ⊙ (W_s xₜ)

The paper's highway connection carries x itself where it has the size of c (their α, a factor for deep stacks,
is left out), and another projection of it where it has not, as its code does; here it is always the latter.
Without v (`peephole=False`, their first version) c is affine in itself.

Parameters: w [D, 4H] in the order f, r, c, s, b [2H] in the order f, r, and v [2, H] if there is a peephole.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params


class SRUState(NamedTuple):
    c: Array  # [..., H]


def sru(
    hidden_size: int,
    *,
    peephole: bool = True,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds an SRU.

    Args:
      hidden_size: H.
      peephole: whether the gates look at the state, each unit at its own.
      kernel_init: draws each `[D, H]` of w.
      bias_init: draws b, called with the shape `[2, H]`, rows f, r.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        kernel_key, bias_key, peephole_key = jax.random.split(key, 3)
        draw = initializers.per_gate(kernel_init, 4)
        params = {
            "w": draw(kernel_key, (input_size, 4 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (2, hidden_size), jnp.float32).reshape(-1),
        }
        if peephole:
            params["v"] = jax.random.uniform(
                peephole_key, (2, hidden_size), jnp.float32, -1.0, 1.0
            ) / jnp.sqrt(jnp.float32(hidden_size))
        return params

    def initial_state(batch_shape: tuple[int, ...] = ()) -> SRUState:
        return SRUState(jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    return Cell(init, initial_state, step, hidden_size)


def step(params: Params, state: SRUState, x: Array) -> tuple[SRUState, Array]:
    """One time step: `(params, state, x [..., D]) -> (state, y [..., H])`."""
    f, r, seen, skip = jnp.split(x @ params["w"], 4, axis=-1)
    b_f, b_r = jnp.split(params["b"], 2)
    f, r = f + b_f, r + b_r
    if "v" in params:
        f, r = f + params["v"][0] * state.c, r + params["v"][1] * state.c
    f, r = jax.nn.sigmoid(f), jax.nn.sigmoid(r)
    c = f * state.c + (1 - f) * seen
    return SRUState(c), r * c + (1 - r) * skip
