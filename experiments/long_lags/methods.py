"""The methods that are compared: a cell, its first weights, and how its gradient is treated."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqjax import CELLS, gru, init, irnn, lstm, rnn
from seqjax.types import Array, Cell
from seqjax.wrappers.lag import leaky, time_skip

OMEGA_WEIGHT = 4.0  # Pascanu et al. (2013); their code has 2, with another form of Ω
LEAK = 0.9  # α, the share of the state that a leaky unit keeps
ADAM_RATE = 0.003
SKIP = 10  # steps that a skip connection spans


class Method(NamedTuple):
    make: Callable[[int, int], Cell]  # (hidden units, length) -> cell
    readout_stddev: float = 0.01
    clip: float = 1.0  # norm of the gradient; infinity: no clipping
    omega: float = 0.0  # weight of Ω
    activation: Callable[[Array], Array] = jnp.tanh  # of the cell, for Ω
    adam: bool = False
    learning_rate: float = 0.01  # as Pascanu et al.


def sigmoid_network(hidden: int, length: int) -> Cell:
    """ "sigmoid" of Pascanu et al. (2013): all weights N(0, .01), logistic units."""
    del length
    small = init.normal(0.01)
    return rnn(hidden, jax.nn.sigmoid, kernel_init=small, recurrent_init=small)


def basic_tanh(hidden: int, length: int) -> Cell:
    """ "basic tanh": all weights N(0, .1)."""
    del length
    return rnn(hidden, kernel_init=init.normal(0.1), recurrent_init=init.normal(0.1))


def smart_tanh(hidden: int, length: int) -> Cell:
    """ "smart tanh": sparse, spectral radius .95; the other weights N(0, .01)."""
    del length
    return rnn(hidden, kernel_init=init.normal(0.01), recurrent_init=init.sparse())


def orthogonal(hidden: int, length: int) -> Cell:
    """An orthogonal recurrent matrix; input weights as "smart tanh"."""
    del length
    return rnn(hidden, kernel_init=init.normal(0.01), recurrent_init=init.orthogonal())


INITIALISATIONS = {"sigmoid": sigmoid_network, "basic tanh": basic_tanh, "smart tanh": smart_tanh}
TREATMENTS = {  # Pascanu's three: the norm to clip at, and the weight of Ω
    "MSGD": (float("inf"), 0.0),
    "MSGD-C": (1.0, 0.0),
    "MSGD-CR": (1.0, OMEGA_WEIGHT),
}


def pascanu(treatment: str, initialisation: str) -> Method:
    """One of the nine of Fig. 7."""
    clip, weight = TREATMENTS[treatment]
    return Method(
        INITIALISATIONS[initialisation],
        readout_stddev=0.1 if initialisation == "basic tanh" else 0.01,
        activation=jax.nn.sigmoid if initialisation == "sigmoid" else jnp.tanh,
        clip=clip,
        omega=weight,
    )


def gated(make: Callable[..., Cell], bias: Callable[[int], Callable]) -> Method:
    """A gated cell, by Adam: the plain descent of the others hardly moves its gates."""
    return Method(
        lambda hidden, length: make(hidden, bias_init=bias(length)),
        adam=True,
        learning_rate=ADAM_RATE,
    )


def own(cell: str, hidden: int, length: int) -> Cell:
    """A cell of `CELLS` with its own initialisation."""
    del length
    return CELLS[cell](hidden)


METHODS = {
    "sgd": pascanu("MSGD", "smart tanh"),
    "clip": pascanu("MSGD-C", "smart tanh"),
    "omega": pascanu("MSGD-CR", "smart tanh"),
    "orthogonal": Method(orthogonal),
    "leaky": Method(lambda hidden, length: leaky(smart_tanh(hidden, length), LEAK)),
    "skip": Method(lambda hidden, length: time_skip(smart_tanh(hidden, length), SKIP)),
    "irnn": Method(lambda hidden, length: irnn(hidden)),
    "rnn_adam": Method(smart_tanh, adam=True, learning_rate=ADAM_RATE),
    "lstm": gated(lstm, lambda length: init.forget_bias(1.0)),
    "lstm_bias_0": gated(lstm, lambda length: init.forget_bias(0.0)),
    "lstm_chrono": gated(lstm, init.chrono),
    "gru": gated(gru, lambda length: init.zeros),
    "gru_chrono": gated(gru, init.chrono_gru),
}
METHODS |= {  # every other cell as it comes, by Adam
    name: Method(partial(own, name), adam=True, learning_rate=ADAM_RATE)
    for name in CELLS
    if name not in METHODS
}


def optimizer(method: Method) -> optax.GradientTransformation:
    """Clipping by norm, then plain descent or Adam."""
    rule = optax.adam(method.learning_rate) if method.adam else optax.sgd(method.learning_rate)
    if method.clip == float("inf"):
        return rule
    return optax.chain(optax.clip_by_global_norm(method.clip), rule)
