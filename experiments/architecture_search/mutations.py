"""Random changes of a cell's graph (Jozefowicz, Zaremba and Sutskever, 2015).

A probability p is drawn from U(0, 1), and every node is changed with probability p. The change is one of
these, all that fit the node being equally likely:

    an activation or linear map becomes another one
    +, - or * becomes another one
    an activation or linear map is put between the node and one of its parents
    an activation or linear map is taken out
    the node is replaced by one of its ancestors
    the node is replaced by the sum, difference or product of one of its ancestors and an ancestor of
    another node, wherever no node becomes its own ancestor

Accounts of the paper differ on whether at most three nodes are changed, and on whether a node may be
taken out that several others read; here there is no such limit. The paper does not say what happens to a
graph that comes out unchanged, is too large, computes nothing, or reads no input or no state any more;
here the draw is repeated.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from seqjax.cells.graph import (
    ELEMENTWISE,
    INPUT,
    STATES,
    UNARY,
    Graph,
    Node,
    sort_graph,
)
from seqjax.errors import RunError

MOST_NODES = 60  # of a mutated graph; the LSTM has 24
ATTEMPTS = 1000

Nodes = dict[int, Node]
T = TypeVar("T")


def mutate(graph: Graph, rng: np.random.Generator) -> Graph:
    """A changed graph, which differs from the given one and reads its input and a state.

    Raises:
      RunError: if ATTEMPTS draws make none, as they do for a graph far larger than MOST_NODES.
    """
    for _ in range(ATTEMPTS):
        new = _changed(graph, rng)
        if new is not None and new != graph and _is_recurrent(new):
            return new
    raise RunError(f"{ATTEMPTS} changes of a graph of {len(graph.nodes)} nodes made no new cell.")


def _is_recurrent(graph: Graph) -> bool:
    ops = {node.op for node in graph.nodes}
    computes = any(not _is_input(node) for node in graph.nodes)
    reads = INPUT in ops and not ops.isdisjoint(STATES)
    return computes and reads and len(graph.nodes) <= MOST_NODES


def _changed(graph: Graph, rng: np.random.Generator) -> Graph | None:
    nodes, outputs = dict(enumerate(graph.nodes)), list(graph.outputs)
    p = rng.random()
    for name in range(len(graph.nodes)):
        if not _is_input(nodes[name]) and rng.random() < p:
            fitting = [change for fits, change in CHANGES if fits(nodes[name])]
            fitting[rng.integers(len(fitting))](nodes, outputs, name, rng)
    return sort_graph(nodes, outputs)


def _swap_activation(nodes: Nodes, outputs: list[int], name: int, rng: np.random.Generator) -> None:
    nodes[name] = nodes[name]._replace(op=_other(UNARY, nodes[name].op, rng))


def _swap_operation(nodes: Nodes, outputs: list[int], name: int, rng: np.random.Generator) -> None:
    nodes[name] = nodes[name]._replace(op=_other(ELEMENTWISE, nodes[name].op, rng))


def _insert(nodes: Nodes, outputs: list[int], name: int, rng: np.random.Generator) -> None:
    op, parents = nodes[name]
    place = rng.integers(len(parents))
    new = _add(nodes, Node(_choice(UNARY, rng), (parents[place],)))
    nodes[name] = Node(op, (*parents[:place], new, *parents[place + 1 :]))


def _take_out(nodes: Nodes, outputs: list[int], name: int, rng: np.random.Generator) -> None:
    _replace(nodes, outputs, name, nodes[name].parents[0])


def _become_ancestor(nodes: Nodes, outputs: list[int], name: int, rng: np.random.Generator) -> None:
    _replace(nodes, outputs, name, _choice(_ancestors(nodes, name), rng))


def _combine(nodes: Nodes, outputs: list[int], name: int, rng: np.random.Generator) -> None:
    other = _choice([n for n in nodes if not _is_input(nodes[n])], rng)
    # A parent that reads the node itself would close a cycle.
    allowed = [
        n for n in _ancestors(nodes, other) if n != name and name not in _ancestors(nodes, n)
    ]
    if allowed:
        parents = (_choice(_ancestors(nodes, name), rng), _choice(allowed, rng))
        nodes[name] = Node(_choice(ELEMENTWISE, rng), parents)


def _is_input(node: Node) -> bool:
    return node.op == INPUT or node.op in STATES


CHANGES: list[tuple[Callable[[Node], bool], Callable[..., None]]] = [
    (lambda node: node.op in UNARY, _swap_activation),
    (lambda node: node.op in ELEMENTWISE, _swap_operation),
    (lambda node: True, _insert),
    (lambda node: node.op in UNARY, _take_out),
    (lambda node: True, _become_ancestor),
    (lambda node: True, _combine),
]


def _ancestors(nodes: Nodes, name: int) -> list[int]:
    """All nodes that a node depends on, inputs included, in a fixed order."""
    ancestors: set[int] = set()
    waiting = [*nodes[name].parents]
    while waiting:
        above = waiting.pop()
        if above not in ancestors:
            ancestors.add(above)
            waiting += nodes[above].parents
    return sorted(ancestors)


def _replace(nodes: Nodes, outputs: list[int], old: int, new: int) -> None:
    """All readers of the old node read the new one instead."""
    for name, (op, parents) in nodes.items():
        nodes[name] = Node(op, tuple(new if parent == old else parent for parent in parents))
    outputs[:] = [new if output == old else output for output in outputs]


def _add(nodes: Nodes, node: Node) -> int:
    nodes[max(nodes) + 1] = node
    return max(nodes)


def _choice(options: Iterable[T], rng: np.random.Generator) -> T:
    listed = list(options)
    return listed[rng.integers(len(listed))]


def _other(options: Iterable[str], old: str, rng: np.random.Generator) -> str:
    return _choice([option for option in options if option != old], rng)
