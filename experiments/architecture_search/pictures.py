"""A cell's graph as equations, and as a drawing."""

from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt

from experiments.common.plots import COLOURS, save
from seqjax.cells.graph import ACTIVATIONS, DIAGONALS, ELEMENTWISE, INPUT, STATES, Graph

SIGNS = {"+": "+", "-": "-", "*": "⊙"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
LONG = 12  # characters
NAMES = {"tanh": "tanh", "sigmoid": "σ", "relu": "ReLU"}


def equations(graph: Graph) -> str:
    """The cell as equations, one a line: h is the state, c, d, ... are further states.

    What is used more than once has a name of its own, and so have gates. W and b are numbered by the node.
    A matrix that starts near a multiple of the identity says so at the end.
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
    """The text of a node whose parents' are given, and whether it is a sum or product."""
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
    """The graph as a PNG file: inputs on the left, new states on the right; what is subtracted, dashed."""
    places = _places(graph)
    width = max(x for x, _ in places) + 1
    height = max(y for _, y in places) + 1
    figure, axes = plt.subplots(
        figsize=(max(5.0, 1.1 * width), max(2.6, 0.8 * height)), layout="constrained"
    )
    for i, (op, parents) in enumerate(graph.nodes):
        x, y = places[i]
        for place, parent in enumerate(parents):
            px, py = places[parent]
            axes.annotate(
                "",
                (x, y),
                (px, py),
                zorder=1,  # behind the nodes
                arrowprops={
                    "arrowstyle": "->",
                    "color": "0.45",
                    "linestyle": "--" if op == "-" and place == 1 else "-",
                    "shrinkA": 14,
                    "shrinkB": 14,
                    # Long ones are bent, so as not to run through what lies between.
                    "connectionstyle": f"arc3,rad={0.0 if x - px == 1 else 0.15}",
                },
            )
        names = [f"{_letter(STATES[k])}'" for k, output in enumerate(graph.outputs) if output == i]
        state = "\n" + " = ".join(names) if names else ""
        is_input = op == INPUT or op in STATES
        text = (
            _letter(op)
            if is_input
            else f"W{_low(i)}"
            if op in DIAGONALS
            else NAMES.get(op) or SIGNS[op]
        )
        colour = (
            "0.85"
            if is_input
            else COLOURS[5] + "66"
            if op in ELEMENTWISE
            else COLOURS[4] + "66"
            if op in DIAGONALS
            else COLOURS[2] + "55"
        )
        axes.text(
            x,
            y,
            text + state,
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round", "facecolor": colour, "edgecolor": "0.3"},
        )
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(-1.4, height - 0.3)  # room for bent arrows
    axes.set_title(title)
    axes.axis("off")
    save(figure, path)
    plt.close(figure)


def _places(graph: Graph) -> list[tuple[float, float]]:
    """Columns by the longest way from an input; rows near the mean of the parents'."""
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
