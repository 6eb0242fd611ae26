"""The networks that are compared: an embedding, layers of one cell, and a linear layer."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.common.jozefowicz import NETWORKS as PUBLISHED
from seqjax import init
from seqjax.cells import CELLS
from seqjax.cells.graph import Graph, graph_cell
from seqjax.errors import InputError
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Initializer, Params
from seqjax.wrappers.depth import stack

# The paper's networks, and every other cell under its own name; the IRNN is its initialisation.
NETWORKS = PUBLISHED | {name: name for name in CELLS if name != "irnn"}


class Shape(NamedTuple):
    """The sizes that a compiled program depends on."""

    network: str | Graph
    layers: int
    units: int
    vocabulary: int
    carried: bool


class Network(NamedTuple):
    """A table of embeddings, recurrent layers, and a linear layer over the last of them."""

    init: Callable[[Array], Params]
    initial_state: Callable[[tuple[int, ...]], Any]
    outputs: Callable[[Params, Any, Array], tuple[Any, Array]]
    """`(params, state, window [T, B]) -> (state after it, logits [T, B, V])`"""


def make_network(shape: Shape, draw: Initializer) -> Network:
    """A network whose weights, all but its biases, are initialised by `draw`."""
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
    """The cell without its own embedding, as MUT1 to 3 have one: inputs have the state's size here."""

    def init_params(key: Array, input_size: int) -> Params:
        return {k: v for k, v in cell.init(key, input_size).items() if k != "w_e"}

    def step(params: Params, state: Any, x: Array) -> tuple[Any, Array]:
        return cell.step({**params, "w_e": jnp.eye(x.shape[-1])}, state, x)

    return cell._replace(init=init_params, step=step, gates=None)


@lru_cache
def units_that_fit(network: str | Graph, layers: int, vocabulary: int, parameters: int) -> int:
    """The largest number of units whose network has at most `parameters` parameters.

    Raises:
      InputError: if a network of one unit has more.
    """

    def count(units: int) -> int:
        candidate = make_network(Shape(network, layers, units, vocabulary, True), init.zeros)
        shapes = jax.eval_shape(candidate.init, jax.random.key(0))
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    if layers > parameters:  # refused without building a huge network
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
