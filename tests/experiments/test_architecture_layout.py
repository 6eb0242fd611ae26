"""Drawings of cells: nodes do not cover one another, arrows go right and avoid other nodes."""

import itertools

import pytest

from experiments.architecture_search.layout import columns_of, layout
from seqjax.cells.graphs import GRAPHS


@pytest.mark.parametrize("name", GRAPHS)
def test_no_node_covers_another_and_no_arrow_a_node(name):
    graph = GRAPHS[name]
    places, routes = layout(graph)
    assert len(set(places)) == len(places)
    assert len(routes) == sum(len(parents) for _, parents in graph.nodes)
    assert [x for x, _ in places] == columns_of(graph)
    for (i, k), route in routes.items():
        assert route[0] == places[graph.nodes[i].parents[k]]
        assert route[-1] == places[i]
        assert not set(route[1:-1]) & set(places)
        assert all(b[0] - a[0] == 1 for a, b in itertools.pairwise(route))
