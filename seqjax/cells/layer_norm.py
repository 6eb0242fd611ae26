"""The LSTM and the GRU whose sums are normalised over units (Ba, Kiros and Hinton, 2016).

    LN(a; γ) = γ ⊙ (a - mean a) / √(var a + ε)

The LSTM (their eq. 20 to 22)

    [iₜ f_t gₜ oₜ] = LN(W xₜ; γ_x) + LN(U hₜ₋₁; γ_h) + b
    cₜ = σ(fₜ) ⊙ cₜ₋₁ + σ(iₜ) ⊙ tanh(gₜ)
    hₜ = σ(oₜ) ⊙ tanh(LN(cₜ; γ_c) + b_c)                yₜ = hₜ

and the GRU (their eq. 27 to 29, with the reset after the product; z is the share that is kept)

    [rₜ zₜ] = σ(LN(W xₜ; γ_x) + LN(U hₜ₋₁; γ_h) + b)
    nₜ = tanh(LN(Wₙ xₜ; γ_xn) + bₙ + rₜ ⊙ (LN(Uₙ hₜ₋₁; γ_hn) + b_hn))
    hₜ = (1 - zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁                      yₜ = hₜ

The paper's code takes one mean and variance over the sums of all gates: `per_gate=False`. With
`per_gate=True` each gate has its own, as in TensorFlow 1's LayerNormBasicLSTMCell. The shifts of the norms
on the sums add up to one bias b, as two biases do.

Parameters: those of `lstm` and `gru`, and gain_x and gain_h of the size of b; of the LSTM gain_c and b_c [H].
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.cells.gru import GRUGates, GRUState, gru
from seqjax.cells.gru import update as update_gru
from seqjax.cells.lstm import LSTMGates, LSTMState, lstm
from seqjax.types import Array, Cell, Initializer, Params

EPSILON = 1e-5


def lstm_layer_norm(
    hidden_size: int,
    *,
    per_gate: bool = False,
    gain: float = 1.0,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
) -> Cell:
    """Builds an LSTM with layer norm. Its gates are in the order i, f, g, o.

    Args:
      hidden_size: H.
      per_gate: one mean and variance for each gate, instead of one for all four.
      gain: what all γ start from.
      kernel_init: as of `lstm`.
      recurrent_init: as of `lstm`.
      bias_init: as of `lstm`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    plain = lstm(
        hidden_size, kernel_init=kernel_init, recurrent_init=recurrent_init, bias_init=bias_init
    )
    groups = 4 if per_gate else 1

    def init(key: Array, input_size: int) -> Params:
        gains = {
            "gain_x": jnp.full(4 * hidden_size, gain, jnp.float32),
            "gain_h": jnp.full(4 * hidden_size, gain, jnp.float32),
            "gain_c": jnp.full(hidden_size, gain, jnp.float32),
            "b_c": jnp.zeros(hidden_size, jnp.float32),
        }
        return {**plain.init(key, input_size), **gains}

    def gates(params: Params, state: LSTMState, x: Array) -> LSTMGates:
        from_x = layer_norm(x @ params["w"], params["gain_x"], groups)
        from_h = layer_norm(state.h @ params["u"], params["gain_h"], groups)
        i, f, g, o = jnp.split(from_x + from_h + params["b"], 4, axis=-1)
        return LSTMGates(jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o))

    def update(params: Params, state: LSTMState, gates: LSTMGates) -> tuple[LSTMState, Array]:
        i, f, g, o = gates
        c = f * state.c + i * g
        h = o * jnp.tanh(layer_norm(c, params["gain_c"]) + params["b_c"])
        return LSTMState(h, c), h

    def step(params: Params, state: LSTMState, x: Array) -> tuple[LSTMState, Array]:
        return update(params, state, gates(params, state, x))

    return Cell(init, plain.initial_state, step, hidden_size, gates, update)


def gru_layer_norm(
    hidden_size: int,
    *,
    per_gate: bool = False,
    gain: float = 1.0,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds a GRU with layer norm. Its gates are in the order r, z, n.

    Args:
      hidden_size: H.
      per_gate: one mean and variance for each of r and z, instead of one for both; n has its own.
      gain: what all γ start from.
      kernel_init: as of `gru`.
      recurrent_init: as of `gru`.
      bias_init: as of `gru`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    plain = gru(
        hidden_size, kernel_init=kernel_init, recurrent_init=recurrent_init, bias_init=bias_init
    )
    groups = 2 if per_gate else 1

    def init(key: Array, input_size: int) -> Params:
        gains = {
            "gain_x": jnp.full(3 * hidden_size, gain, jnp.float32),
            "gain_h": jnp.full(3 * hidden_size, gain, jnp.float32),
        }
        return {**plain.init(key, input_size), **gains}

    def norms(sums: Array, gain: Array) -> tuple[Array, Array]:
        """Of the sums of r and z, and of those of n."""
        of_gates, of_n = jnp.split(sums, [2 * hidden_size], axis=-1)
        gain_gates, gain_n = jnp.split(gain, [2 * hidden_size])
        return layer_norm(of_gates, gain_gates, groups), layer_norm(of_n, gain_n)

    def gates(params: Params, state: GRUState, x: Array) -> GRUGates:
        x_gates, x_n = norms(x @ params["w"], params["gain_x"])
        h_gates, h_n = norms(state.h @ params["u"], params["gain_h"])
        b_gates, b_n = jnp.split(params["b"], [2 * hidden_size])
        r, z = jnp.split(jax.nn.sigmoid(x_gates + h_gates + b_gates), 2, axis=-1)
        n = jnp.tanh(x_n + b_n + r * (h_n + params["b_hn"]))
        return GRUGates(r, z, n)

    def step(params: Params, state: GRUState, x: Array) -> tuple[GRUState, Array]:
        return update_gru(params, state, gates(params, state, x))

    return Cell(init, plain.initial_state, step, hidden_size, gates, update_gru)


def layer_norm(sums: Array, gain: Array, groups: int = 1) -> Array:
    """LN over the last axis, or over each of so many equal parts of it; `gain` is of its size."""
    parts = sums.reshape(*sums.shape[:-1], groups, -1)
    centred = parts - parts.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + EPSILON)).reshape(sums.shape) * gain
