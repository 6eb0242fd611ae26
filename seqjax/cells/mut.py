"""MUT1, MUT2 and MUT3, the three best cells of a search over ten thousand (Jozefowicz, Zaremba and
Sutskever, 2015).

    eₜ = W_e xₜ                                            all three

    MUT1   zₜ = σ(W_z eₜ + b_z)
           rₜ = σ(Wᵣ eₜ + Uᵣ hₜ₋₁ + bᵣ)
           nₜ = tanh(tanh(eₜ) + Uₙ (rₜ ⊙ hₜ₋₁) + bₙ)
    MUT2   zₜ = σ(W_z eₜ + U_z hₜ₋₁ + b_z)
           rₜ = σ(eₜ + Uᵣ hₜ₋₁ + bᵣ)
           nₜ = tanh(Wₙ eₜ + Uₙ (rₜ ⊙ hₜ₋₁) + bₙ)
    MUT3   zₜ = σ(W_z eₜ + U_z tanh(hₜ₋₁) + b_z)
           rₜ = σ(Wᵣ eₜ + Uᵣ hₜ₋₁ + bᵣ)
           nₜ = tanh(Wₙ eₜ + Uₙ (rₜ ⊙ hₜ₋₁) + bₙ)

    hₜ = zₜ ⊙ nₜ + (1 - zₜ) ⊙ hₜ₋₁        yₜ = hₜ          all three

As printed, but for the letters (x there is e here, n is the new state before it is mixed). In the
paper inputs are embedded to the size of the state before a cell sees them, and MUT1 and MUT2 add
them to vectors of that size as they are. The embedding W_e is therefore a part of these cells: they
take inputs of any size, as all others do, and no one has to know. z is the share of the NEW state,
where in `gru` it is that of the old.

Parameters: w_e [D, H], u_n [H, H], b [3H] in the order r, z, n, and
MUT1: w [H, 2H] for r, z; u [H, H] for r.
MUT2: w [H, 2H] for z, n; u [H, 2H] for r, z.
MUT3: w [H, 3H] for r, z, n; u [H, H] for r; u_z [H, H].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.gru import GRUGates, GRUState
from seqjax.errors import check_positive
from seqjax.types import Array, Cell, Initializer, Params

Gates = Callable[[Params, Array, Array], GRUGates]  # (params, h, e) -> r, z, n, each [..., H]


def mut1(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds MUT1, whose update gate does not look at the state.

    Args:
      hidden_size: H.
      kernel_init: draws w_e and each gate's `[H, H]` in w.
      recurrent_init: draws each `[H, H]` that acts on the state.
      bias_init: draws b, called with the shape `[3, H]`, rows r, z, n.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    return _cell(hidden_size, _gates1, 2, {"u": 1}, kernel_init, recurrent_init, bias_init)


def mut2(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds MUT2, whose reset gate reads the embedded input as it is. Arguments as `mut1`."""
    return _cell(hidden_size, _gates2, 2, {"u": 2}, kernel_init, recurrent_init, bias_init)


def mut3(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds MUT3, whose update gate looks at tanh of the state. Arguments as `mut1`."""
    return _cell(
        hidden_size, _gates3, 3, {"u": 1, "u_z": 1}, kernel_init, recurrent_init, bias_init
    )


def _gates1(params: Params, h: Array, e: Array) -> GRUGates:
    b_r, b_z, b_n = jnp.split(params["b"], 3)
    e_r, e_z = jnp.split(e @ params["w"], 2, axis=-1)
    r = jax.nn.sigmoid(e_r + h @ params["u"] + b_r)
    z = jax.nn.sigmoid(e_z + b_z)
    n = jnp.tanh(jnp.tanh(e) + (r * h) @ params["u_n"] + b_n)
    return GRUGates(r, z, n)


def _gates2(params: Params, h: Array, e: Array) -> GRUGates:
    b_r, b_z, b_n = jnp.split(params["b"], 3)
    e_z, e_n = jnp.split(e @ params["w"], 2, axis=-1)
    h_r, h_z = jnp.split(h @ params["u"], 2, axis=-1)
    r = jax.nn.sigmoid(e + h_r + b_r)
    z = jax.nn.sigmoid(e_z + h_z + b_z)
    n = jnp.tanh(e_n + (r * h) @ params["u_n"] + b_n)
    return GRUGates(r, z, n)


def _gates3(params: Params, h: Array, e: Array) -> GRUGates:
    e_r, e_z, e_n = jnp.split(e @ params["w"] + params["b"], 3, axis=-1)
    r = jax.nn.sigmoid(e_r + h @ params["u"])
    z = jax.nn.sigmoid(e_z + jnp.tanh(h) @ params["u_z"])
    n = jnp.tanh(e_n + (r * h) @ params["u_n"])
    return GRUGates(r, z, n)


def _cell(
    hidden_size: int,
    gates_of_embedded: Gates,
    inputs: int,
    states: dict[str, int],
    kernel_init: Initializer,
    recurrent_init: Initializer,
    bias_init: Initializer,
) -> Cell:
    """A cell of those gates, with `inputs` blocks in w, and in the matrices of `states` so many."""
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        embedding_key, kernel_key, bias_key, *keys = jax.random.split(key, 4 + len(states))
        draw = initializers.per_gate(kernel_init, inputs)
        params = {
            "w_e": kernel_init(embedding_key, (input_size, hidden_size), jnp.float32),
            "w": draw(kernel_key, (hidden_size, inputs * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (3, hidden_size), jnp.float32).reshape(-1),
        }
        for key, (name, blocks) in zip(keys, {**states, "u_n": 1}.items(), strict=True):
            draw = initializers.per_gate(recurrent_init, blocks)
            params[name] = draw(key, (hidden_size, blocks * hidden_size), jnp.float32)
        return params

    def initial_state(batch_shape: tuple[int, ...] = ()) -> GRUState:
        return GRUState(h=jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    def gates(params: Params, state: GRUState, x: Array) -> GRUGates:
        return gates_of_embedded(params, state.h, x @ params["w_e"])

    def step(params: Params, state: GRUState, x: Array) -> tuple[GRUState, Array]:
        return _update(params, state, gates(params, state, x))

    return Cell(init, initial_state, step, hidden_size, gates, _update)


def _update(params: Params, state: GRUState, gates: GRUGates) -> tuple[GRUState, Array]:
    _, z, n = gates
    h = z * n + (1 - z) * state.h
    return GRUState(h), h
