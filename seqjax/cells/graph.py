"""Cells that are written as data: a graph of elementwise operations, activations and linear maps.

In such a graph Jozefowicz, Zaremba and Sutskever (2015) searched ten thousand cells for better ones
than the LSTM and the GRU. Its nodes are

    x                     the input, of the size of the state
    s0, s1, ...           the states before the step
    + - *                 of two nodes, elementwise
    tanh, sigmoid, relu   of one node
    linear a              W v + b of one node v, with a W and a b of its own; a is added to the
                          diagonal of W at the start (a = 0, 1, 0.9 or 1.1)

and one node for each new state is its value; the first of them is also the output. `graphs.py` has
the LSTM, the GRU and MUT1 to 3 as graphs.

Parameters: w3 [H, H] and b3 [H] for a linear map at node 3, and so on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive, shown
from seqjax.types import Array, Cell, Initializer, Params

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
}
DIAGONALS = {"linear 0": 0.0, "linear 1": 1.0, "linear 0.9": 0.9, "linear 1.1": 1.1}
ELEMENTWISE: dict[str, Callable[[Array, Array], Array]] = {
    "+": jnp.add,
    "-": jnp.subtract,
    "*": jnp.multiply,
}
UNARY = (*ACTIVATIONS, *DIAGONALS)
INPUT = "x"
MOST_STATES = 10
STATES = tuple(f"s{i}" for i in range(MOST_STATES))
MOST_NODES = 200  # Python follows a chain of them within its own limit


class Node(NamedTuple):
    op: str
    parents: tuple[int, ...] = ()


class Graph(NamedTuple):
    """A cell. Nodes stand after their parents."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]  # the node of each new state


class GraphState(NamedTuple):
    states: tuple[Array, ...]  # each [..., H]


def graph_cell(
    graph: Graph,
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> Cell:
    """Builds the cell of a graph. Its inputs must be of size H already.

    Args:
      graph: what to compute.
      hidden_size: H.
      kernel_init: draws each W `[H, H]`, without what is added to its diagonal.
      bias_init: draws each b, called with the shape `[1, H]`.

    Raises:
      InputError: if hidden_size is not a positive integer, or the graph none; in `init`, if the
        inputs are of another size.
    """
    check_positive("hidden_size", hidden_size)
    check_graph(graph)
    linear = {i: DIAGONALS[node.op] for i, node in enumerate(graph.nodes) if node.op in DIAGONALS}

    def init(key: Array, input_size: int) -> Params:
        if input_size != hidden_size:
            raise InputError(
                f"a graph adds its inputs to its states: embed them to {hidden_size} values first,"
                f" got {input_size}."
            )
        params = {}
        for i, a in linear.items():
            kernel_key, bias_key = jax.random.split(jax.random.fold_in(key, i))
            w = kernel_init(kernel_key, (hidden_size, hidden_size), jnp.float32)
            params[f"w{i}"] = w + a * jnp.eye(hidden_size, dtype=jnp.float32)
            params[f"b{i}"] = bias_init(bias_key, (1, hidden_size), jnp.float32).reshape(-1)
        return params

    def initial_state(batch_shape: tuple[int, ...] = ()) -> GraphState:
        return GraphState(
            tuple(jnp.zeros((*batch_shape, hidden_size), jnp.float32) for _ in graph.outputs)
        )

    def step(params: Params, state: GraphState, x: Array) -> tuple[GraphState, Array]:
        values: list[Array] = []
        for i, (op, parents) in enumerate(graph.nodes):
            inputs = [values[parent] for parent in parents]
            if op == INPUT:
                values.append(x)
            elif op in STATES:
                values.append(state.states[STATES.index(op)])
            elif op in ELEMENTWISE:
                values.append(ELEMENTWISE[op](*inputs))
            elif op in ACTIVATIONS:
                values.append(ACTIVATIONS[op](*inputs))
            else:
                values.append(inputs[0] @ params[f"w{i}"] + params[f"b{i}"])
        states = tuple(values[i] for i in graph.outputs)
        return GraphState(states), states[0]

    return Cell(init, initial_state, step, hidden_size)


def sort_graph(nodes: Mapping[int, Node], outputs: Iterable[int]) -> Graph | None:
    """The graph of named nodes in any order, without those that no output needs; None if a node is
    its own ancestor.

    Two graphs that differ in the order of their nodes alone come out equal.
    """
    places: dict[int, int] = {}
    sorted_nodes: list[Node] = []
    above: set[int] = set()

    def visit(name: int) -> bool:
        if name in places:
            return True
        if name in above:
            return False
        above.add(name)
        op, parents = nodes[name]
        if not all(visit(parent) for parent in parents):
            return False
        above.remove(name)
        places[name] = len(sorted_nodes)
        sorted_nodes.append(Node(op, tuple(places[parent] for parent in parents)))
        return True

    outputs = tuple(outputs)
    if not all(visit(name) for name in outputs):
        return None
    return Graph(tuple(sorted_nodes), tuple(places[name] for name in outputs))


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """`{"nodes": [["x"], ["linear 0", 0], ...], "outputs": [...]}`"""
    return {
        "nodes": [[op, *parents] for op, parents in graph.nodes],
        "outputs": list(graph.outputs),
    }


def graph_from_json(value: Any) -> Graph:
    """The graph that `graph_to_json` wrote.

    Raises:
      InputError: if it is none; it says why.
    """
    match value:
        case {"nodes": [*rows], "outputs": [*outputs]} if all(
            isinstance(row, list) and row for row in rows
        ):
            nodes = tuple(Node(row[0], tuple(row[1:])) for row in rows)
            return check_graph(Graph(nodes, tuple(outputs)))
    raise InputError(f'a graph is written {{"nodes": ..., "outputs": ...}}, got {shown(value)}.')


def check_graph(graph: Graph) -> Graph:
    """Returns the graph if it is one, else raises InputError."""
    if not 0 < len(graph.outputs) <= MOST_STATES:
        raise InputError(f"a graph has 1 to {MOST_STATES} states, got {len(graph.outputs)}.")
    if len(graph.nodes) > MOST_NODES:
        raise InputError(f"a graph has at most {MOST_NODES} nodes, got {len(graph.nodes)}.")
    known = (INPUT, *STATES[: len(graph.outputs)])
    counts = dict.fromkeys(known, 0) | dict.fromkeys(UNARY, 1) | dict.fromkeys(ELEMENTWISE, 2)
    for i, (op, parents) in enumerate(graph.nodes):
        if not isinstance(op, str) or op not in counts:
            raise InputError(f"node {i} of a graph is {', '.join(counts)}, got {shown(op)}.")
        count = counts[op]
        if len(parents) != count or not all(_is_place(parent, i) for parent in parents):
            raise InputError(
                f"node {i} of a graph, {op!r}, takes {count} nodes that stand before it, got"
                f" {shown(parents)}."
            )
    if not all(_is_place(output, len(graph.nodes)) for output in graph.outputs):
        raise InputError(f"the outputs of a graph are nodes of it, got {shown(graph.outputs)}.")
    return graph


def _is_place(value: Any, end: int) -> bool:
    return type(value) is int and 0 <= value < end
