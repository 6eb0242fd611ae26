"""A cell's graph as equations, and as a drawing."""

from collections import Counter
from pathlib import Path
from typing import Any

from experiments.common.plots import COLOURS, pyplot, save
from seqjax.cells.graph import ACTIVATIONS, DIAGONALS, ELEMENTWISE, INPUT, STATES, Graph

SIGNS = {"+": "+", "-": "-", "*": "⊙"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
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
    places = _places(graph)
    width = max(x for x, _ in places) + 1
    height = max(y for _, y in places) + 1
    plt = pyplot()
    figure, axes = plt.subplots(
        figsize=(max(5.0, 1.1 * width), max(2.6, 0.8 * height)), layout="constrained"
    )
    for i, (op, parents) in enumerate(graph.nodes):
        for k, parent in enumerate(parents):
            _draw_arrow(axes, places[parent], places[i], dashed=op == "-" and k == 1)
        axes.text(
            *places[i],
            _node_text(graph, i),
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round", "facecolor": _node_colour(op), "edgecolor": "0.3"},
        )
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(-1.4, height - 0.3)  # room for bent arrows
    axes.set_title(title)
    axes.axis("off")
    save(figure, path)
    plt.close(figure)


def _draw_arrow(axes: Any, start: tuple, end: tuple, *, dashed: bool) -> None:
    # Long arrows are bent, so as not to run through what lies between.
    bend = 0.0 if end[0] - start[0] == 1 else 0.15
    axes.annotate(
        "",
        end,
        start,
        zorder=1,  # behind the nodes
        arrowprops={
            "arrowstyle": "->",
            "color": "0.45",
            "linestyle": "--" if dashed else "-",
            "shrinkA": 14,
            "shrinkB": 14,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )


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


def _places(graph: Graph) -> list[tuple[float, float]]:
    """A place `(x, y)` for each node: columns by the longest path from an input, rows near parents'."""
    columns: list[int] = []
    for _, parents in graph.nodes:
        columns.append(1 + max((columns[parent] for parent in parents), default=-1))
    rows: dict[int, float] = {}
    for column in range(max(columns) + 1):
        here = [i for i, c in enumerate(columns) if c == column]

        def wish(i: int) -> float:
            parents = graph.nodes[i].parents
            return sum(rows[p] for p in parents) / len(parents) if parents else float(i)

        taken = -1.0
        for i in sorted(here, key=wish):
            rows[i] = taken = max(wish(i), taken + 1) if graph.nodes[i].parents else taken + 1
    return [(float(columns[i]), rows[i]) for i in range(len(graph.nodes))]
