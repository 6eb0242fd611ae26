"""The table, the figure and the examples of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common import plots, tables
from experiments.common.intervals import interval
from experiments.translate.config import Config
from experiments.translate.text import Text

# By the numbers of training, validation and test pairs.
PUBLISHED = {
    (29000, 1014, 1000): {
        "2-layer LSTM, one vector, greedy (bentrevett, 2024)": 13.76,
        "GRU, one vector at every step, greedy (bentrevett, 2024)": 20.61,
        "bidirectional GRU, additive attention, greedy (bentrevett, 2024)": 28.30,
    }
}

Grouped = dict[str, dict[str, list[dict[str, Any]]]]  # by text and kind: a row for each seed


class Picture(NamedTuple):
    weights: np.ndarray  # [T, S]
    written: list[str]
    source: list[str]


def published_for(texts: Sequence[Text]) -> dict[str, float]:
    """Published BLEU of German to English on the same numbers of pairs; none for other text."""
    sizes = [tuple(map(len, text.splits)) for text in texts if text.name == "de to en"]
    return PUBLISHED.get(sizes[0], {}) if sizes else {}  # type: ignore[arg-type]


def _score(row: dict[str, Any]) -> str:
    return "exact" if "exact" in row["greedy"] else "bleu"


def table(grouped: Grouped, config: Config, published: dict[str, float]) -> str:
    """One line for each text and kind of network, and each published number."""
    lines = []
    for text, by_kind in grouped.items():
        for kind, rows in by_kind.items():
            name = _score(rows[0])
            values = [
                np.array([row[way][name] for row in rows if way in row])
                for way in ("greedy", "beam")
            ]
            shown = [interval(found) if len(found) else "" for found in values]
            lines.append([f"{text}, {kind}", *shown, str(len(rows))])
    lines += [[f"published: {name}", f"{value:.2f}", "", ""] for name, value in published.items()]
    head = ["share exact, or BLEU, on the test pairs", "greedy", f"beam {config.beam}", "seeds"]
    return tables.table(head, lines)


def figure(path: Path, grouped: Grouped, pictures: dict[str, Picture]) -> None:
    """Scores against the length of the source, and what attention read; a column for each text."""
    panels = [(text, False) for text in grouped] + [(text, True) for text in pictures]
    with plots.panels(path, len(panels)) as axes:
        for panel, (text, is_picture) in zip(axes, panels, strict=True):
            if is_picture:
                _picture(panel, pictures[text], text)
            else:
                _lengths(panel, grouped[text], text)


def _lengths(axes: Any, by_kind: dict[str, list[dict[str, Any]]], text: str) -> None:
    for number, (kind, rows) in enumerate(by_kind.items()):
        name = _score(rows[0])
        lines = [row["greedy"]["by_length"] for row in rows]
        x = [group["length"] for group in lines[0]]
        y = np.array([[group[name] for group in line] for line in lines])
        colour = plots.COLOURS[number % len(plots.COLOURS)]
        style = plots.LINES[number % len(plots.LINES)]
        axes.plot(x, y.mean(0), style, color=colour, marker="o", ms=4, label=kind)
        if len(y) > 1:
            axes.fill_between(x, y.min(0), y.max(0), color=colour, alpha=0.15)
        axes.set_ylim(0, 1.03 if name == "exact" else None)
    axes.legend(frameon=False)
    ylabel = "share exact" if name == "exact" else "BLEU"
    plots.label(axes, xlabel="tokens of the source", ylabel=ylabel, title=text)


def _picture(axes: Any, picture: Picture, text: str) -> None:
    axes.imshow(picture.weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    size = 8 if max(map(len, picture[1:])) < 24 else 6
    names = [[token.replace("▁", " ").strip() or "_" for token in side] for side in picture[1:]]
    turned = 90 if max(map(len, names[1])) > 1 else 0
    axes.set_xticks(range(len(names[1])), names[1], rotation=turned, fontsize=size)
    axes.set_yticks(range(len(names[0])), names[0], fontsize=size)
    axes.set(xlabel="read", ylabel="written", title=f"{text}: weights of attention")


def examples(rows: dict[str, dict[str, Any]]) -> str:
    """Five test sentences, what each network made of them, and the reference where that differs."""
    lines = []
    for name, row in rows.items():
        lines.append(f"{name}:")
        for source, wanted, given in row["examples"]:
            told = "" if wanted.lower() == given.lower() else f"   (reference: {wanted})"
            lines.append(f"  {source} -> {given}{told}")
    return "\n".join(lines)
