"""What a mutation may do to a graph."""

from collections import Counter

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from experiments.architecture_search import mutations
from seqjax.cells.graph import INPUT, STATES, UNARY, Graph, Node, check_graph, sort_graph
from seqjax.cells.graphs import GRAPHS

SEEDS = st.integers(0, 2**32)


@hypothesis.given(SEEDS, st.sampled_from([*GRAPHS]))
def test_long_lines_of_descent_stay_graphs(seed, name):
    rng = np.random.default_rng(seed)
    graph = GRAPHS[name]
    for _ in range(10):
        parent, graph = graph, mutations.mutate(graph, rng)
        assert check_graph(graph) != parent
        assert len(graph.outputs) == len(parent.outputs)
        assert len(graph.nodes) <= mutations.MOST_NODES
        ops = {node.op for node in graph.nodes}
        assert INPUT in ops
        assert ops & set(STATES)
        assert sort_graph(dict(enumerate(graph.nodes)), graph.outputs) == graph  # nothing is idle


def test_the_same_seed_makes_the_same_child():
    children = [mutations.mutate(GRAPHS["LSTM"], np.random.default_rng(3)) for _ in range(2)]
    assert children[0] == children[1]
    assert mutations.mutate(GRAPHS["LSTM"], np.random.default_rng(4)) != children[0]


def one_change(change, graph, name, seed):
    nodes, outputs = dict(enumerate(graph.nodes)), list(graph.outputs)
    change(nodes, outputs, name, np.random.default_rng(seed))
    return sort_graph(nodes, outputs)


# tanh(W x + U h): x, linear, s0, linear, +, tanh
RNN = GRAPHS["tanh"]


def test_an_activation_becomes_any_other_one():
    found = {one_change(mutations._swap_activation, RNN, 5, s).nodes[5].op for s in range(200)}
    assert found == set(UNARY) - {"tanh"}


def test_an_operation_becomes_any_other_one():
    found = {one_change(mutations._swap_operation, RNN, 4, s).nodes[4].op for s in range(50)}
    assert found == {"-", "*"}


def test_an_activation_comes_between_a_node_and_a_parent():
    found = Counter()
    for seed in range(200):
        new = one_change(mutations._insert, RNN, 4, seed)
        assert len(new.nodes) == len(RNN.nodes) + 1
        plus = next(node for node in new.nodes if node.op == "+")
        grown = [
            len(new.nodes[p].parents) and new.nodes[new.nodes[p].parents[0]].op
            for p in plus.parents
        ]
        found[tuple(op.startswith("linear") for op in grown)] += 1
    assert set(found) == {(True, False), (False, True)}  # either parent


def test_an_activation_is_taken_out():
    new = one_change(mutations._take_out, RNN, 5, 0)
    assert new == Graph(RNN.nodes[:5], (4,))
    new = one_change(mutations._take_out, RNN, 3, 0)
    assert [node.op for node in new.nodes] == ["x", "linear 0", "s0", "+", "tanh"]


def test_a_node_becomes_one_of_its_ancestors():
    found = {one_change(mutations._become_ancestor, RNN, 4, seed) for seed in range(100)}
    assert {graph.nodes[0].op for graph in found} == {"x", "s0"}
    assert Graph((Node("x"), Node("tanh", (0,))), (1,)) in found
    assert len(found) == 4  # x, W x, h, U h


def test_a_node_becomes_a_combination_without_circles():
    gru = GRAPHS["GRU"]
    found = set()
    for seed in range(500):
        new = one_change(mutations._combine, gru, 9, seed)  # the sum before tanh
        assert new is not None  # or there would be a circle
        found.add(new)
    assert len(found) > 50


def test_about_p_of_the_nodes_change_and_p_is_uniform():
    """Of a long chain of tanh, swapping alone: the share of changed nodes is U(0, 1)."""
    chain = Graph(
        (Node("x"), Node("s0"), Node("+", (0, 1)), *(Node("tanh", (i,)) for i in range(2, 52))),
        (52,),
    )
    rng = np.random.default_rng(0)
    only = [(lambda node: True, lambda nodes, outputs, name, rng: changed.append(name))]
    shares = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mutations, "CHANGES", only)
        for _ in range(2000):
            changed = []
            mutations._changed(chain, rng)
            shares.append(len(changed) / 51)
    assert abs(np.mean(shares) - 0.5) < 0.03
    assert abs(np.var(shares) - 1 / 12) < 0.015
