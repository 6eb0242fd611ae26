"""A cell's graph as equations, and as a drawing."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.architecture_search.layout import Place, layout
from experiments.common.plots import COLOURS, pyplot, save
from seqjax.cells.graph import ACTIVATIONS, DIAGONALS, ELEMENTWISE, INPUT, STATES, Graph

SIGNS = {"+": "+", "-": "-", "*": "⊙"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
BESIDE = 0.16  # of a column, from the middle of a node to where its arrows begin and end
LONG = 12  # characters of an expression that gets a name of its own
NAMES = {"tanh": "tanh", "sigmoid": "σ", "relu": "ReLU"}


def equations(graph: Graph) -> str:
    """The cell as equations, one a line: h is the state, c, d, ... are further states.

    Values that are used more than once have a name of their own, and so have gates. W and b are
    numbered by their node. Matrices that start near a multiple of the identity are listed at the end.
    """
    uses = Counter(parent for node in graph.nodes for parent in node.parents)
    texts: list[tuple[str, bool]] = []  # and whether it is a sum or product, for brackets
    lines, named = [], 0
    for i, (op, parents) in enumerate(graph.nodes):
        if op == INPUT or op in STATES:
            texts.append((_letter(op), False))
            continue
        text, compound = _expression(op, i, [texts[parent] for parent in parents])
        names = [f"{_letter(STATES[k])}'" for k, out in enumerate(graph.outputs) if out == i]
        if not names and (uses[i] > 1 or (op in ACTIVATIONS and len(text) > LONG)):
            named += 1
            names = [f"v{_low(named)}"]
        if names:
            lines.append(" = ".join([*names, text]))
            text, compound = names[0], False
        texts.append((text, compound))
    for k, out in enumerate(graph.outputs):
        if not graph.nodes[out].parents:
            lines.append(f"{_letter(STATES[k])}' = {texts[out][0]}")
    for i, (op, _) in enumerate(graph.nodes):
        if DIAGONALS.get(op):
            lines.append(f"W{_low(i)} starts with {DIAGONALS[op]:g} added to its diagonal")
    return "\n".join(lines)


def _expression(op: str, place: int, inside: list[tuple[str, bool]]) -> tuple[str, bool]:
    """The text of a node, from those of its parents, and whether it is a sum or product."""
    if op in DIAGONALS:
        return f"W{_low(place)} {_bracketed(*inside[0])} + b{_low(place)}", True
    if op in ACTIVATIONS:
        return f"{NAMES[op]}({inside[0][0]})", False
    if op == "*":
        return " ⊙ ".join(_bracketed(*part) for part in inside), True
    right = _bracketed(*inside[1]) if op == "-" else inside[1][0]
    return f"{inside[0][0]} {op} {right}", True


def _low(number: int) -> str:
    return str(number).translate(SUBSCRIPTS)


def _letter(op: str) -> str:
    return "x" if op == INPUT else "hcdefgijkl"[STATES.index(op)]


def _bracketed(text: str, is_sum: bool) -> str:
    return f"({text})" if is_sum else text


def draw_graph(path: Path, graph: Graph, title: str) -> None:
    """Draws the graph to a PNG file: inputs left, new states right, dashed what is subtracted."""
    from matplotlib.patches import FancyArrowPatch

    places, routes = layout(graph)
    width = max(x for x, _ in places) + 1
    rows = [y for _, y in (*places, *(point for route in routes.values() for point in route))]
    height = max(rows) - min(rows) + 1
    plt = pyplot()
    figure, axes = plt.subplots(
        figsize=(max(5.0, 1.1 * width), max(2.0, 0.4 + 0.75 * height)), layout="constrained"
    )
    for (i, k), route in routes.items():
        dashed = graph.nodes[i].op == "-" and k == 1
        arrow = FancyArrowPatch(
            path=_smooth(route),
            arrowstyle="->",
            mutation_scale=12,
            color="0.45",
            linestyle="--" if dashed else "-",
            zorder=1,  # behind the nodes
        )
        axes.add_patch(arrow)
    for i, (op, _) in enumerate(graph.nodes):
        axes.text(
            *places[i],
            _node_text(graph, i),
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round", "facecolor": _node_colour(op), "edgecolor": "0.3"},
        )
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(min(rows) - 0.6, max(rows) + 0.6)
    axes.set_title(title)
    axes.axis("off")
    save(figure, path)
    plt.close(figure)


def _smooth(route: list[Place]) -> Any:
    """A curve through all points of a route, level in each."""
    from matplotlib.path import Path as Curve

    first, *between, last = route
    route = [(first[0] + BESIDE, first[1]), *between, (last[0] - BESIDE, last[1])]
    points, codes = [route[0]], [Curve.MOVETO]
    for (x0, y0), (x1, y1) in itertools.pairwise(route):
        points += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    return Curve(points, codes)


def _node_text(graph: Graph, i: int) -> str:
    """The operation of a node and, below it, the new states that it is."""
    op = graph.nodes[i].op
    if op == INPUT or op in STATES:
        text = _letter(op)
    elif op in DIAGONALS:
        text = f"W{_low(i)}"
    else:
        text = NAMES.get(op) or SIGNS[op]
    states = [f"{_letter(STATES[k])}'" for k, output in enumerate(graph.outputs) if output == i]
    return text + ("\n" + " = ".join(states) if states else "")


def _node_colour(op: str) -> str:
    if op == INPUT or op in STATES:
        return "0.85"
    if op in ELEMENTWISE:
        return COLOURS[5] + "66"
    return COLOURS[4] + "66" if op in DIAGONALS else COLOURS[2] + "55"
