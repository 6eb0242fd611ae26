"""The networks that are compared: an embedding, layers of one cell, and a linear layer."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init
from seqjax.cells import CELLS
from seqjax.cells.graph import Graph, graph_cell
from seqjax.errors import InputError
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Initializer, Params
from seqjax.wrappers.depth import stack

# Jozefowicz et al. (2015), and the cell of seqjax that each of theirs is.
NETWORKS = {
    "tanh": "rnn",
    "LSTM": "lstm",
    "LSTM-f": "lstm_no_forget_gate",
    "LSTM-i": "lstm_no_input_gate",
    "LSTM-o": "lstm_no_output_gate",
    "LSTM-b": "lstm",
    "GRU": "gru_reset_before",
    "MUT1": "mut1",
    "MUT2": "mut2",
    "MUT3": "mut3",
}


class Shape(NamedTuple):
    """What a compiled program depends on."""

    network: str | Graph
    layers: int
    units: int
    vocabulary: int
    carried: bool


class Network(NamedTuple):
    """A table of embeddings, layers, and a linear layer over the last."""

    init: Callable[[Array], Params]
    initial_state: Callable[[tuple[int, ...]], Any]
    outputs: Callable[[Params, Any, Array], tuple[Any, Array]]  # of a window, and the state after


def make_network(shape: Shape, draw: Initializer) -> Network:
    """A network whose weights, but for its biases, start as `draw` draws them."""
    layers = stack(*[make_layer(shape.network, shape.units, draw)] * shape.layers)

    def init_params(key: Array) -> Params:
        table_key, layers_key, head_key = jax.random.split(key, 3)
        return {
            "table": draw(table_key, (shape.vocabulary, shape.units), jnp.float32),
            "layers": layers.init(layers_key, shape.units),
            "w": draw(head_key, (shape.units, shape.vocabulary), jnp.float32),
            "b": jnp.zeros(shape.vocabulary),
        }

    def outputs(params: Params, state: Any, inputs: Array) -> tuple[Any, Array]:
        state, ys = unroll(layers, params["layers"], params["table"][inputs], state)
        return state, ys @ params["w"] + params["b"]

    return Network(init_params, layers.initial_state, outputs)


def make_layer(network: str | Graph, units: int, draw: Initializer) -> Cell:
    """One layer: LSTM-b starts with a forget bias of 1, all other biases with 0."""
    if isinstance(network, Graph):
        return graph_cell(network, units, kernel_init=draw)
    bias = init.forget_bias(1.0) if network == "LSTM-b" else init.zeros
    return without_embedding(
        CELLS[NETWORKS[network]](units, kernel_init=draw, recurrent_init=draw, bias_init=bias)
    )


def without_embedding(cell: Cell) -> Cell:
    """MUT1 to 3 embed their inputs themselves; here those are of the size of the state already."""

    def init_params(key: Array, input_size: int) -> Params:
        return {k: v for k, v in cell.init(key, input_size).items() if k != "w_e"}

    def step(params: Params, state: Any, x: Array) -> tuple[Any, Array]:
        return cell.step({**params, "w_e": jnp.eye(x.shape[-1])}, state, x)

    return cell._replace(init=init_params, step=step)


@lru_cache
def units_that_fit(network: str | Graph, layers: int, vocabulary: int, parameters: int) -> int:
    """The most units whose network has no more parameters than that.

    Raises:
      InputError: if one has more.
    """

    def count(units: int) -> int:
        whole = make_network(Shape(network, layers, units, vocabulary, True), init.zeros)
        shapes = jax.eval_shape(whole.init, jax.random.key(0))
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    if layers > parameters:  # not to be built in order to be counted
        raise InputError(f"{layers} layers have more than {parameters} parameters: allow more.")
    if count(1) > parameters:
        raise InputError(
            f"a network of one unit a layer, {layers} in all, has {count(1)} parameters, more than the"
            f" {parameters} that are allowed: allow more."
        )
    low, high = 1, 2
    while count(high) <= parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= parameters else (low, middle)
    return low
