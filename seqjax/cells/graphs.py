"""Known cells as graphs: the tanh RNN, the LSTM, the GRU, and MUT1 to 3.

Each equals the cell of seqjax of the same equations. A linear map has a bias of its own, where those
cells have one for each gate: the sum of two. That MUT1 to 3 were found by changing graphs such as the
GRU's can be seen here (Jozefowicz, Zaremba and Sutskever, 2015).
"""

from collections.abc import Callable

from seqjax.cells.graph import INPUT, Graph, Node, sort_graph


class _Draft:
    """A graph in the making; a node is called by its number."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}

    def __call__(self, op: str, *parents: int) -> int:
        self.nodes[len(self.nodes)] = Node(op, parents)
        return len(self.nodes) - 1

    def linear(self, *parents: int) -> int:
        """The sum of a linear map of each."""
        first, *rest = (self("linear 0", parent) for parent in parents)
        for other in rest:
            first = self("+", first, other)
        return first

    def mixed(self, share: int, new: int, old: int) -> int:
        """share ⊙ new + (1 - share) ⊙ old."""
        return self("+", old, self("*", share, self("-", new, old)))


def _graph(write: Callable[[_Draft], tuple[int, ...]]) -> Graph:
    draft = _Draft()
    graph = sort_graph(draft.nodes, write(draft))
    assert graph is not None
    return graph


def _tanh(d: _Draft) -> tuple[int, ...]:
    return (d("tanh", d.linear(d(INPUT), d("s0"))),)


def _lstm(d: _Draft) -> tuple[int, ...]:
    x, h, c = d(INPUT), d("s0"), d("s1")
    i, f = (d("sigmoid", d.linear(x, h)) for _ in "if")
    g, o = (d(op, d.linear(x, h)) for op in ("tanh", "sigmoid"))
    new = d("+", d("*", f, c), d("*", i, g))
    return d("*", o, d("tanh", new)), new


def _gru(d: _Draft) -> tuple[int, ...]:
    """Reset before the product; z is the share of the old state."""
    x, h = d(INPUT), d("s0")
    r, z = (d("sigmoid", d.linear(x, h)) for _ in "rz")
    n = d("tanh", d.linear(x, d("*", r, h)))
    return (d.mixed(z, h, n),)


def _mut1(d: _Draft) -> tuple[int, ...]:
    x, h = d(INPUT), d("s0")
    r, z = d("sigmoid", d.linear(x, h)), d("sigmoid", d.linear(x))
    n = d("tanh", d("+", d("tanh", x), d.linear(d("*", r, h))))
    return (d.mixed(z, n, h),)


def _mut2(d: _Draft) -> tuple[int, ...]:
    x, h = d(INPUT), d("s0")
    r, z = d("sigmoid", d("+", x, d.linear(h))), d("sigmoid", d.linear(x, h))
    n = d("tanh", d.linear(x, d("*", r, h)))
    return (d.mixed(z, n, h),)


def _mut3(d: _Draft) -> tuple[int, ...]:
    x, h = d(INPUT), d("s0")
    r, z = d("sigmoid", d.linear(x, h)), d("sigmoid", d.linear(x, d("tanh", h)))
    n = d("tanh", d.linear(x, d("*", r, h)))
    return (d.mixed(z, n, h),)


GRAPHS: dict[str, Graph] = {
    "tanh": _graph(_tanh),
    "LSTM": _graph(_lstm),
    "GRU": _graph(_gru),
    "MUT1": _graph(_mut1),
    "MUT2": _graph(_mut2),
    "MUT3": _graph(_mut3),
}
