"""Where the nodes of a cell's graph stand in a drawing, and how its arrows run between them.

As Sugiyama, Tagawa and Toda (1981) draw layered graphs: a node's column is its longest path from an input; an arrow
that passes columns has a place of its own in each; and columns are sorted by the mean places of their
neighbours, to the left and to the right in turns, of which the order with the fewest crossings is kept.
"""

import itertools
from collections.abc import Mapping

from seqjax.cells.graph import Graph

Place = tuple[float, float]  # column, row
Point = tuple[int, ...]  # (node,); where an arrow passes a column (node, parent's number, column)
SWEEPS = 24


def layout(graph: Graph) -> tuple[list[Place], dict[tuple[int, int], list[Place]]]:
    """Places of the nodes, and of each arrow, by its node and parent's number, all points it runs through."""
    columns = columns_of(graph)
    arrows: dict[tuple[int, int], list[Point]] = {}
    for i, (_, parents) in enumerate(graph.nodes):
        for k, parent in enumerate(parents):
            passed = range(columns[parent] + 1, columns[i])
            arrows[i, k] = [(parent,), *((i, k, column) for column in passed), (i,)]
    pieces = [pair for points in arrows.values() for pair in itertools.pairwise(points)]
    layers: list[list[Point]] = [[] for _ in range(max(columns) + 1)]
    for i, column in enumerate(columns):
        layers[column].append((i,))
    for points in arrows.values():
        for point in points[1:-1]:
            layers[point[2]].append(point)
    row = rows_of(best_order(layers, pieces))
    places = [(float(columns[i]), row[i,]) for i in range(len(columns))]
    column_of = {point: float(x) for x, layer in enumerate(layers) for point in layer}
    routes = {
        arrow: [(column_of[point], row[point]) for point in points]
        for arrow, points in arrows.items()
    }
    return places, routes


def columns_of(graph: Graph) -> list[int]:
    """The longest path from an input to each node; parents stand before their children."""
    columns: list[int] = []
    for _, parents in graph.nodes:
        columns.append(1 + max((columns[parent] for parent in parents), default=-1))
    return columns


def best_order(layers: list[list[Point]], pieces: list[tuple[Point, Point]]) -> list[list[Point]]:
    """The columns, each sorted so that few arrows cross."""
    left: dict[Point, list[Point]] = {}
    right: dict[Point, list[Point]] = {}
    for start, end in pieces:
        left.setdefault(end, []).append(start)
        right.setdefault(start, []).append(end)
    best = layers = [list(layer) for layer in layers]
    fewest = crossings(layers, pieces)
    for sweep in range(SWEEPS):
        neighbours, order = (
            (left, range(len(layers))) if sweep % 2 == 0 else (right, reversed(range(len(layers))))
        )
        for column in order:
            row = rows_of(layers)
            layers[column] = sorted(layers[column], key=lambda p: mean_row(p, neighbours, row))
        if (found := crossings(layers, pieces)) < fewest:
            best, fewest = [list(layer) for layer in layers], found
    return best


def mean_row(
    point: Point, neighbours: Mapping[Point, list[Point]], row: Mapping[Point, float]
) -> float:
    """The mean row of a point's neighbours, or its own where it has none."""
    found = [row[other] for other in neighbours.get(point, [point])]
    return sum(found) / len(found)


def rows_of(layers: list[list[Point]]) -> dict[Point, float]:
    """Rows of all points: each column from its middle."""
    return {
        point: place - (len(layer) - 1) / 2 for layer in layers for place, point in enumerate(layer)
    }


def crossings(layers: list[list[Point]], pieces: list[tuple[Point, Point]]) -> int:
    """How many pairs of arrows cross between the columns."""
    column = {point: x for x, layer in enumerate(layers) for point in layer}
    row = rows_of(layers)
    lines = [(column[start], row[start], row[end]) for start, end in pieces]
    return sum(
        a[0] == b[0] and (a[1] - b[1]) * (a[2] - b[2]) < 0
        for i, a in enumerate(lines)
        for b in lines[:i]
    )
