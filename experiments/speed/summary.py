"""One table and one picture of all that a peer costs: training, inference, compiling, starting, memory.

Every figure is a peer's as a multiple of seqjax's: above 1, seqjax is better. Where seqjax was measured on two devices
as well, training and inference are compared with the faster of one and two, as `--devices=auto` picks it.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots

Row = dict[str, Any]
OURS = ("seqjax", "seqjax_2dev")
FLOORS = ("products", "products_2dev")  # of whatever makes its products by XLA
NAMES = {
    "torch": "torch",
    "torch_compile": "torch.compile",
    "linen": "Flax Linen",
    "nnx": "Flax NNX",
    "haiku": "Haiku",
    "equinox": "Equinox",
    "keras": "Keras (JAX)",
    "plain": "plain lax.scan",
    "products": "products alone",
}


def fastest(row: Row, names: tuple[str, ...]) -> float | None:
    """The least median of some peers, in milliseconds."""
    times = [row["peers"][name]["median_ms"] for name in names if name in row["peers"]]
    return min(times) if times else None


COMPILED = 0.05  # seconds below which a peer is taken to compile nothing


def of(field: str) -> Callable[[Row, str], float | None]:
    """A peer's figure of that name as a multiple of seqjax's."""

    def ratio(row: Row, peer: str) -> float | None:
        own, theirs = (row["peers"].get(name, {}).get(field) for name in ("seqjax", peer))
        nothing = field == "compile_seconds" and (theirs or 0) < COMPILED
        return theirs / own if own and theirs and not nothing else None

    return ratio


def by_time(row: Row, peer: str) -> float | None:
    """A peer's time as a multiple of seqjax's; the products' on one or two devices, the faster."""
    own, theirs = fastest(row, OURS), fastest(row, FLOORS if peer == "products" else (peer,))
    return theirs / own if own and theirs else None


# What is compared: in which rows, and what of them.
QUESTIONS: dict[str, tuple[str, str, Callable[[Row, str], float | None]]] = {
    "training, LSTM": ("lstm", "train", by_time),
    "training, GRU": ("gru", "train", by_time),
    "inference, LSTM": ("lstm", "forward", by_time),
    "inference, GRU": ("gru", "forward", by_time),
    "compiling": ("", "train", of("compile_seconds")),
    "first result": ("", "train", of("first_seconds")),
    "peak memory": ("", "train", of("peak_rss_bytes")),
}
Summary = dict[str, dict[str, list[float]]]  # by question and peer: a ratio for each shape


def summary(rows: list[Row]) -> Summary:
    """The ratios of every question that was measured, by peer."""
    rows = [row for row in rows if row["suite"] == "peers" and row["peers"]]
    found: Summary = {}
    for question, (cell, kind, ratio) in QUESTIONS.items():
        asked = [r for r in rows if r["kind"] == kind and r["cell"] in (cell or ("lstm", "gru"))]
        for peer in NAMES:
            floor = peer == "products" and ratio is not by_time
            ratios = [] if floor else [x for row in asked if (x := ratio(row, peer)) is not None]
            if ratios:
                found.setdefault(question, {})[peer] = ratios
    return found


def mean(ratios: list[float]) -> float:
    """The geometric mean."""
    return math.exp(float(np.mean(np.log(ratios))))


def markdown(found: Summary) -> str:
    """Geometric means over the shapes; "" if nothing was compared."""
    peers = [peer for peer in NAMES if any(peer in of_peer for of_peer in found.values())]
    if not peers:
        return ""
    lines = [["a peer's figure over seqjax's", *(NAMES[p] for p in peers)]]
    lines.append(["---"] * len(lines[0]))
    for question, of_peer in found.items():
        cells = [f"{mean(of_peer[p]):.2f}" if p in of_peer else "" for p in peers]
        lines.append([question, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(path: Path, found: Summary) -> None:
    """A panel for each question: a dot for each shape, and their geometric mean with its number."""
    questions = list(found)
    peers = [peer for peer in NAMES if any(peer in found[q] for q in questions)]
    if not peers:
        return
    columns = min(4, len(questions))
    lines = math.ceil(len(questions) / columns)
    figure, panels = plots.pyplot().subplots(
        lines,
        columns,
        figsize=(1.4 + 2.4 * columns, 0.9 + lines * (0.6 + 0.27 * len(peers))),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for panel in panels.flat[len(questions) :]:
        panel.set_visible(False)
    for panel, question in zip(panels.flat, questions, strict=False):
        for place, peer in enumerate(peers):
            ratios = found[question].get(peer, [])
            if not ratios:
                continue
            colour = plots.COLOURS[2] if peer == "products" else plots.COLOURS[mean(ratios) < 1]
            panel.plot(ratios, [place] * len(ratios), "o", color=colour, ms=3, alpha=0.35)
            panel.plot(mean(ratios), place, "D", color=colour, ms=6)
            panel.annotate(
                f"{mean(ratios):.2f}",
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=colour,
            )
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log", base=2)
        low, high = panel.get_xlim()
        panel.set_xlim(min(low, 0.45), max(high, 2.2))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_title(question, fontsize=10)
        panel.grid(axis="x", alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yticks(range(len(peers)), [NAMES[peer] for peer in peers])
    panels[0][0].set_ylim(len(peers) - 0.5, -0.5)
    figure.supxlabel(
        "theirs / seqjax's: right of the line seqjax is better; dots: shapes, diamonds and numbers: their geometric means",
        fontsize=9,
    )
    plots.save(figure, path)
    plots.pyplot().close(figure)
