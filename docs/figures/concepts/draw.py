"""Draws the figures of docs/concepts.md: `python docs/figures/concepts/draw.py`."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
INK, PALE, BLUE, ORANGE, GREEN, RED = "#222", "#e9edf2", "#cfe0f5", "#fbdcc0", "#d3ecd8", "#f6cfcf"
FONT = "font-family='Helvetica, Arial, sans-serif'"


class Drawing:
    """Boxes, arrows and words on a white ground."""

    def __init__(self, name: str, width: int, height: int, title: str):
        self.name, self.parts = name, []
        self.head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>"
            f"<title>{escape(title)}</title>"
            "<defs><marker id='a' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7'"
            f" markerHeight='7' orient='auto'><path d='M0 0L10 5L0 10z' fill='{INK}'/></marker></defs>"
            f"<rect width='{width}' height='{height}' rx='8' fill='#fff'/>"
        )

    def box(self, x: float, y: float, w: float, h: float, text: str = "", fill: str = PALE) -> None:
        self.parts.append(
            f"<rect x='{x}' y='{y}' width='{w}' height='{h}' rx='5' fill='{fill}' stroke='{INK}'/>"
        )
        if text:
            self.words(x + w / 2, y + h / 2 + 5, text)

    def words(self, x: float, y: float, text: str, size: int = 15, anchor: str = "middle") -> None:
        self.parts.append(
            f"<text x='{x}' y='{y}' {FONT} font-size='{size}' text-anchor='{anchor}'"
            f" fill='{INK}'>{escape(text)}</text>"
        )

    def arrow(self, *points: Sequence[float]) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f"<polyline points='{path}' fill='none' stroke='{INK}' stroke-width='1.5'"
            " marker-end='url(#a)'/>"
        )

    def save(self) -> None:
        text = self.head + "".join(self.parts) + "</svg>\n"
        (HERE / f"{self.name}.svg").write_text(text, encoding="utf-8")


def cell() -> None:
    d = Drawing("cell", 620, 200, "A step takes parameters, a state and an input")
    d.box(235, 70, 150, 60, "step", BLUE)
    for y, text in ((82, "state"), (118, "x, of one time step")):
        d.words(150, y - 7, text)
        d.arrow((60, y), (233, y))
    for y, text in ((82, "state"), (118, "y")):
        d.words(470, y - 7, text)
        d.arrow((387, y), (560, y))
    d.words(310, 26, "params")
    d.arrow((310, 34), (310, 68))
    d.words(
        310,
        170,
        "init(key, input_size) makes params;  initial_state(batch_shape) makes the first state",
        14,
    )
    d.save()


def unroll() -> None:
    d = Drawing("unroll", 760, 250, "The same step and parameters at every time step")
    d.words(40, 118, "state")
    d.arrow((66, 113), (98, 113))
    for i in range(4):
        x = 100 + 150 * i
        d.box(x, 88, 90, 50, "step", BLUE)
        d.arrow((x + 45, 190), (x + 45, 140))
        d.words(x + 45, 208, f"x {i}")
        d.arrow((x + 45, 86), (x + 45, 44))
        d.words(x + 45, 36, f"y {i}")
        d.arrow((x + 90, 113), (x + (148 if i < 3 else 138), 113))
    d.words(716, 118, "state")
    d.words(380, 238, "params: the same at every step", 14)
    d.save()


def scan() -> None:
    d = Drawing("scan", 760, 210, "What can leave the loop does")
    d.box(20, 50, 200, 90, "", GREEN)
    d.words(120, 88, "before the loop:")
    d.words(120, 110, "X W, one product")
    d.box(280, 50, 200, 90, "", BLUE)
    d.words(380, 88, "the loop, step by step:")
    d.words(380, 110, "h U, gates, state")
    d.box(540, 50, 200, 90, "", ORANGE)
    d.words(640, 88, "after the way back:")
    d.words(640, 110, "∂L/∂W, ∂L/∂U, one each")
    d.arrow((222, 95), (278, 95))
    d.arrow((482, 95), (538, 95))
    d.words(380, 30, "read from the step itself, for any pure step")
    d.words(380, 180, "print(seqjax.explain(step, params, state, x)) says what was found", 14)
    d.save()


def lengths() -> None:
    d = Drawing("lengths", 640, 250, "Rows of different lengths in one batch")
    for row, length in enumerate((5, 3, 0)):
        y = 50 + 56 * row
        d.words(70, y + 26, f"length {length}")
        for t in range(5):
            real = t < length
            d.box(140 + 62 * t, y, 52, 40, f"x {t}" if real else "-", BLUE if real else PALE)
        d.arrow((456, y + 20), (494, y + 20))
        d.words(560, y + 26, ("state after x 4", "state after x 2", "initial state")[row])
    d.words(295, 30, "time", 14)
    d.words(
        320,
        235,
        "past its length a row's state stands still, its outputs are zeros, and nothing there enters the gradient",
        14,
    )
    d.save()


def noise() -> None:
    d = Drawing("noise", 700, 230, "Which steps share a mask")
    fills = {"a": BLUE, "b": ORANGE, "c": GREEN, "d": RED, "e": PALE}
    for left, title, rows in (
        (30, "one mask for a row: variational", ("aaaaa", "bbbbb", "ccccc")),
        (370, "a new one at each step: naive", ("abcde", "decab", "cabed")),
    ):
        d.words(left + 150, 30, title)
        for r, row in enumerate(rows):
            for t, letter in enumerate(row):
                d.box(left + 60 * t, 48 + 44 * r, 54, 36, "", fills[letter])
    d.words(350, 205, "unroll(cell, params, xs, key=key): without a key there is no noise", 14)
    d.save()


def population() -> None:
    d = Drawing("population", 680, 220, "Many settings, one program")
    for i in range(4):
        d.box(30, 24 + 44 * i, 200, 36, f"rate, size, seed {i + 1}", PALE)
        d.arrow((232, 42 + 44 * i), (288, 110))
    d.box(290, 70, 150, 80, "", BLUE)
    d.words(365, 105, "one compiled")
    d.words(365, 126, "update of all")
    for i in range(4):
        d.arrow((442, 110), (498, 42 + 44 * i))
        d.box(500, 24 + 44 * i, 150, 36, f"score {i + 1}", GREEN)
    d.words(340, 210, "each stops by itself, and stays as it was", 14)
    d.save()


def resume() -> None:
    d = Drawing("resume", 720, 200, "A run that was killed goes on exactly")
    d.arrow((40, 70), (690, 70))
    d.words(60, 100, "update 0", 14)
    for x, text in ((220, "saved: 500"), (380, "saved: 1,000")):
        d.box(x - 8, 58, 16, 24, "", GREEN)
        d.words(x, 104, text, 14)
    d.box(462, 58, 16, 24, "", RED)
    d.words(470, 46, "killed at 1,320", 14)
    d.arrow((470, 84), (470, 140), (380, 140), (380, 112))
    d.words(560, 146, "--resume: back to 1,000", 14)
    d.words(
        360,
        186,
        "batch and key of an update follow from its number: the same numbers, bit for bit",
        14,
    )
    d.save()


if __name__ == "__main__":
    for draw in (cell, unroll, scan, lengths, noise, population, resume):
        draw()
