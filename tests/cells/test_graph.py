"""Cells written as graphs: equal to the cells written by hand, and hard to write wrongly."""

import contextlib
import json

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, InputError, unroll
from seqjax.cells.graph import (
    DIAGONALS,
    MOST_NODES,
    Graph,
    Node,
    graph_cell,
    graph_from_json,
    graph_to_json,
    sort_graph,
)
from seqjax.cells.graphs import GRAPHS
from tests.support.randomness import problem
from tests.support.strategies import JSON

H = 4
# The cell of each graph, and of its parameters the nodes that make them up, side by side; the biases
# of several nodes are summed, and what is "-" has the other sign.
SAME = {
    "tanh": ("rnn", {"w": "1", "u": "3", "b": "1+3"}),
    "LSTM": (
        "lstm",
        {"w": "12 6 16 1", "u": "13 7 17 3", "b": "12+13 6+7 16+17 1+3"},
    ),
    "GRU": (
        "gru_reset_before",
        {"w": "2 11 1", "u": "4 12", "u_n": "8", "b": "2+4 11+12 1+8"},
    ),
    "MUT1": ("mut1", {"w": "5 2", "u": "6", "u_n": "10", "b": "5+6 2 10"}),
    "MUT2": ("mut2", {"w": "2 6", "u": "7 3", "u_n": "11", "b": "7 2+3 6+11"}),
    "MUT3": (
        "mut3",
        {"w": "8 2 7", "u": "9", "u_z": "4", "u_n": "13", "b": "8+9 2+4 7+13"},
    ),
}


def converted(params, parts):
    """A hand-written cell's parameters out of a graph's."""
    made = {}
    for name, text in parts.items():
        kind = "b" if name == "b" else "w"
        sums = [sum(params[kind + node] for node in part.split("+")) for part in text.split()]
        made[name] = np.concatenate(sums, axis=-1)
    return made


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_equal_the_cells_written_by_hand(name):
    """Over five steps, with all parameters, biases and states random."""
    cell_name, parts = SAME[name]
    with jax.enable_x64(True):
        cell = graph_cell(GRAPHS[name], H)
        params, state, xs = problem(cell, input_size=H, dtype=np.float64)
        hand_written = CELLS[cell_name](H)
        made = converted(params, parts)
        if "w_e" in hand_written.init(jax.random.key(0), H):
            made["w_e"] = np.eye(H)
        own_state = type(hand_written.initial_state(()))(*state.states)
        final, ys = unroll(cell, params, xs, state)
        own_final, own_ys = unroll(hand_written, made, xs, own_state)
        np.testing.assert_allclose(ys, own_ys, rtol=1e-12, atol=1e-14)
        for ours, theirs in zip(final.states, own_final, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_every_operation_in_numpy():
    """A graph with all of them, against the same written out."""
    ops = ["tanh", "sigmoid", "relu", *DIAGONALS]
    nodes = [Node("x"), Node("s0"), Node("s1"), Node("-", (1, 2)), Node("*", (0, 3))]
    for op in ops:
        nodes.append(Node(op, (len(nodes) - 1,)))
    nodes.append(Node("+", (len(nodes) - 1, 1)))
    with jax.enable_x64(True):
        cell = graph_cell(Graph(tuple(nodes), (len(nodes) - 1, 7)), H)
        params, state, xs = problem(cell, input_size=H, dtype=np.float64)
        x, (s0, s1) = xs[0], state.states
        value = np.tanh(x * (s0 - s1))
        value = rectified = np.maximum(1 / (1 + np.exp(-value)), 0)
        for i in range(8, 12):
            value = value @ params[f"w{i}"] + params[f"b{i}"]
        new, y = cell.step(params, state, x)
        np.testing.assert_allclose(y, value + s0, rtol=1e-12)
        np.testing.assert_allclose(new.states[0], y)
        np.testing.assert_allclose(new.states[1], rectified, rtol=1e-12)


def test_linear_maps_start_near_their_multiple_of_the_identity():
    graph = Graph((Node("s0"), *(Node(op, (0,)) for op in DIAGONALS)), (1,))
    zeros = jax.nn.initializers.zeros
    params = graph_cell(graph, H, kernel_init=zeros).init(jax.random.key(0), H)
    for i, a in enumerate(DIAGONALS.values(), 1):
        np.testing.assert_allclose(params[f"w{i}"], a * np.eye(H))
    drawn = graph_cell(graph, H).init(jax.random.key(0), H)
    assert not np.allclose(drawn["w1"], drawn["w2"])  # each map its own


def test_inputs_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"embed them to 4 values first, got 3"):
        graph_cell(GRAPHS["GRU"], H).init(jax.random.key(0), 3)


@pytest.mark.parametrize("name", GRAPHS)
def test_json_and_back(name):
    graph = GRAPHS[name]
    assert graph_from_json(json.loads(json.dumps(graph_to_json(graph)))) == graph


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "a graph is written"),
        ({"nodes": [["x"], []], "outputs": [0]}, "a graph is written"),
        ({"nodes": [["x"]], "outputs": []}, "1 to 10 states, got 0"),
        ({"nodes": [["x"]] * (MOST_NODES + 1), "outputs": [0]}, "at most 200 nodes, got 201"),
        ({"nodes": [["cosine"]], "outputs": [0]}, "node 0 of a graph is x, s0, .* got 'cosine'"),
        ({"nodes": [["s1"]], "outputs": [0]}, "node 0 of a graph is x, s0, .* got 's1'"),
        ({"nodes": [["x"], ["tanh", 1]], "outputs": [1]}, "node 1 .* takes 1 nodes that stand"),
        ({"nodes": [["x"], ["+", 0]], "outputs": [1]}, "takes 2 nodes"),
        ({"nodes": [["x", 0]], "outputs": [0]}, "takes 0 nodes"),
        ({"nodes": [["x"], ["tanh", -1]], "outputs": [1]}, r"got \(-1,\)"),
        ({"nodes": [["x"], ["tanh", True]], "outputs": [1]}, r"got \(True,\)"),
        ({"nodes": [["x"]], "outputs": [1]}, r"outputs of a graph are nodes of it, got \(1,\)"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_sentence(value, message):
    with pytest.raises(InputError, match=message):
        graph_from_json(value)


@hypothesis.given(JSON)
def test_any_json_is_a_graph_or_an_input_error(text):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for candidate in (
        value,
        {"nodes": value, "outputs": [0]},
        {"nodes": [["x"]], "outputs": value},
    ):
        with contextlib.suppress(InputError):
            graph_cell(graph_from_json(candidate), 1)


@hypothesis.given(st.sampled_from([*GRAPHS]), st.randoms(use_true_random=False))
def test_sorting_does_not_depend_on_names_and_drops_what_no_one_needs(name, random):
    graph = GRAPHS[name]
    names = random.sample(range(1000), len(graph.nodes) + 1)
    nodes = {
        names[i]: Node(op, tuple(names[p] for p in ps)) for i, (op, ps) in enumerate(graph.nodes)
    }
    nodes[names[-1]] = Node("tanh", (names[0],))  # no one's parent
    shuffled = dict(random.sample([*nodes.items()], len(nodes)))
    assert sort_graph(shuffled, [names[o] for o in graph.outputs]) == graph


def test_a_node_above_itself_is_no_graph():
    assert sort_graph({0: Node("tanh", (1,)), 1: Node("relu", (0,))}, [0]) is None


def test_the_longest_chain_is_followed():
    nodes = {i: Node("tanh", (i - 1,)) if i else Node("x") for i in range(MOST_NODES)}
    graph = sort_graph(nodes, [MOST_NODES - 1])
    y = graph_cell(graph, 1).step({}, graph_cell(graph, 1).initial_state(), jnp.ones(1))[1]
    assert 0 < y < 0.2
