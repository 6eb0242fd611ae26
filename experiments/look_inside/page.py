"""The page of `look_inside`: one HTML file with all data in it, for no server and no network.

Series of activations are stored one by one, a byte for each character, deflated and in base64, so that
the page decodes only the series that are looked at. A signed quantity (h, c, and the candidates g and n)
is stored as 127 + 127 x / max |x| of its unit, a gate as 255 x: the page's values are within 0.4 % of
that maximum. Ten megabytes do not hold everything: `choose` says which series come first.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.page import fill
from experiments.look_inside.model import CANDIDATES
from experiments.look_inside.text import Property

HERE = Path(__file__).parent
STATES = ("h", "c")
TOP = 5  # predictions per character


class Series(NamedTuple):
    layer: int
    quantity: str
    unit: int


def choose(layers: list[dict[str, np.ndarray]], ranked: Iterable[Series]) -> Iterator[Series]:
    """All series in the order in which they are stored, until the file is full.

    The states of all units, then the gates; of both, first those of the ranked units.
    """
    ranked_units = [(s.layer, s.unit) for s in ranked]
    all_units = [(n, u) for n, q in enumerate(layers) for u in range(q["h"].shape[1])]
    for states in (True, False):
        for n, u in dict.fromkeys([*ranked_units, *all_units]):
            names = [name for name in layers[n] if (name in STATES) == states]
            yield from (Series(n, name, u) for name in names)


def quantise(name: str, x: np.ndarray) -> tuple[np.ndarray, float]:
    """One series `[T]` as bytes, and the value that the largest byte stands for."""
    if name in (*STATES, *CANDIDATES):
        scale = float(np.abs(x).max()) or 1.0
        return np.round(127 + 127 * x / scale).astype(np.uint8), scale
    return np.round(255 * np.clip(x, 0, 1)).astype(np.uint8), 1.0


def pack(x: np.ndarray) -> str:
    """An array as the page reads it: little-endian, deflated, in base64."""
    data = np.ascontiguousarray(x, x.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(data, 9)).decode()


def predictions(log_probs: np.ndarray, ids: np.ndarray) -> dict[str, str]:
    """The TOP most probable next characters at every place, and the right one's probability.

    Probabilities are stored as 16-bit integers, 65535 for 1.
    """
    top = np.argsort(-log_probs, axis=1, kind="stable")[:, :TOP]
    right = np.append(log_probs[np.arange(len(ids) - 1), ids[1:]], -np.inf)
    as_integers = [np.round(65535 * np.exp(x)).astype(np.uint16) for x in (log_probs, right)]
    return {
        "tokens": pack(top.astype(np.uint16)),
        "probabilities": pack(np.take_along_axis(as_integers[0], top, 1)),
        "right": pack(as_integers[1]),
    }


def build(
    data: dict[str, Any],
    layers: list[dict[str, np.ndarray]],
    properties: dict[str, Property],
    ranked: list[Series],
    max_bytes: int,
) -> tuple[str, int]:
    """The page, and how many series it holds.

    Args:
      data: all other data of the page, as JSON values.
      layers: for each layer the activations `[T, H]` by quantity.
      properties: the properties of the text.
      ranked: the series to store first; the page shows the first of them first.
      max_bytes: the largest size of the page.
    """
    parts = {name: _file(f"look_inside.{name}") for name in ("html", "css", "js")}
    marks = {name: pack(_as_bytes(p)) for name, p in properties.items()}
    scales = [{name: [1.0] * x.shape[1] for name, x in q.items()} for q in layers]
    elements: list[str] = []
    fixed = sum(len(part.encode()) for part in parts.values()) + sum(map(len, marks.values()))
    fixed += len(_json(data).encode()) + sum(12 * len(x) for q in scales for x in q.values())
    room = max_bytes - fixed - 1000
    for layer, name, unit in choose(layers, ranked):
        x, scale = quantise(name, layers[layer][name][:, unit])
        element = f'<script type="text/plain" id="s-{layer}-{name}-{unit}">{pack(x)}</script>\n'
        if len(element) > room:
            break
        room -= len(element)
        elements.append(element)
        scales[layer][name][unit] = float(f"{scale:.6g}")
    data = data | {"marks": marks, "scales": scales}
    page = fill(
        parts["html"],
        style=parts["css"],
        script=parts["js"],
        data=_json(data),
        first=elements[0] if elements else "",
        series="".join(elements[1:]),
    )
    return page, len(elements)


def _as_bytes(p: Property) -> np.ndarray:
    largest = float(p.values.max()) or 1.0
    return np.round(255 * p.values.astype(float) / largest).astype(np.uint8)


def _json(value: Any) -> str:
    """JSON that can stand in a script element: no `<` can end it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
