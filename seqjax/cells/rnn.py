"""The simple recurrent network of Elman (1990), and its identity-initialised form.

    hₜ = φ(W xₜ + U hₜ₋₁ + b)        yₜ = hₜ

φ is tanh, ReLU or the identity. The IRNN (Le, Jaitly and Hinton, 2015) is the ReLU network
whose U starts as the identity: an initialisation, not another cell.

Parameters: w [D, H], u [H, H], b [H].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive, shown
from seqjax.types import Array, Cell, Initializer, Params


class RNNState(NamedTuple):
    h: Array  # [..., H]


def rnn(
    hidden_size: int,
    activation: Callable[[Array], Array] = jnp.tanh,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds an Elman RNN.

    Args:
      hidden_size: H.
      activation: φ; `jnp.tanh`, `jax.nn.relu`, `linear`, or any elementwise function.
      kernel_init: draws w `[D, H]`.
      recurrent_init: draws u `[H, H]`.
      bias_init: draws b, called with the shape `[1, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer, or the activation no function.
    """
    check_positive("hidden_size", hidden_size)
    if not callable(activation):
        raise InputError(
            f"activation must be a function, such as jnp.tanh, got {shown(activation)}."
        )

    def init(key: Array, input_size: int) -> Params:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        return {
            "w": kernel_init(kernel_key, (input_size, hidden_size), jnp.float32),
            "u": recurrent_init(recurrent_key, (hidden_size, hidden_size), jnp.float32),
            "b": bias_init(bias_key, (1, hidden_size), jnp.float32).reshape(-1),
        }

    def initial_state(batch_shape: tuple[int, ...] = ()) -> RNNState:
        return RNNState(h=jnp.zeros((*batch_shape, hidden_size), jnp.float32))

    def gates(params: Params, state: RNNState, x: Array) -> RNNState:
        return RNNState(activation(x @ params["w"] + state.h @ params["u"] + params["b"]))

    def step(params: Params, state: RNNState, x: Array) -> tuple[RNNState, Array]:
        state = gates(params, state, x)
        return state, state.h

    return Cell(init, initial_state, step, hidden_size, gates)


def linear(x: Array) -> Array:
    """The identity activation: with it the RNN is a linear dynamical system."""
    return x


def rnn_relu(hidden_size: int, **kwargs: Any) -> Cell:
    """An Elman RNN with φ = ReLU; keyword arguments as `rnn`."""
    return rnn(hidden_size, jax.nn.relu, **kwargs)


def rnn_linear(hidden_size: int, **kwargs: Any) -> Cell:
    """An Elman RNN with φ = identity; keyword arguments as `rnn`."""
    return rnn(hidden_size, linear, **kwargs)


def irnn(hidden_size: int, *, scale: float = 1.0) -> Cell:
    """The IRNN: ReLU, U = scale·I, w ~ N(0, 0.001), b = 0 (Le, Jaitly and Hinton, 2015)."""
    return rnn(
        hidden_size,
        jax.nn.relu,
        kernel_init=initializers.normal(0.001),
        recurrent_init=initializers.identity(scale),
    )
