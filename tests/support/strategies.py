"""What a stranger may leave in a file, and in its place, as Hypothesis strategies."""

import gzip
import json
import os

from hypothesis import strategies as st

NAUGHTY = (
    "\0",
    "\r\n",
    "\ufeff",
    "\ud800",
    "\u2028",
    "\x1b[2J",
    "漢",
    "/",
    "*",
    "[a]",
    "?",
    "~",
    ".",
)
TEXT = st.lists(st.text(max_size=8) | st.sampled_from(NAUGHTY), max_size=6).map("".join)
HUGE = st.sampled_from((2**31, 2**53, 2**63, 2**64, 10**30, 10**400))
INTEGERS = st.integers() | st.integers(-2, 300) | HUGE | HUGE.map(lambda n: -n)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def mostly(good, other):
    """Nine times of ten the first: what is refused at the door finds nothing behind it."""
    return st.sampled_from([True] * 9 + [False]).flatmap(lambda often: good if often else other)


def nested(depth, broken):
    return '{"a":[' * depth + ("" if broken else "]}" * depth)


JSON = (
    VALUES.map(json.dumps)
    | st.builds(nested, st.sampled_from((40, 60, 300, 600, 5000, 100_000)), st.booleans())
    | st.sampled_from(
        ("1e999", "-1e999", "NaN", "[Infinity]", '"\\ud800"', "1" * 9000, '{"a":1e999}')
    )
    | TEXT
)


@st.composite
def damaged(draw, contents):
    """Bytes with some of them changed, cut, doubled, or others in between."""
    data = draw(contents)
    for _ in range(draw(st.sampled_from((0, 1, 1, 3)))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(("flip", "cut", "double", "insert", "empty")))
        if kind == "flip" and data:
            flipped = data[place] ^ draw(st.integers(1, 255))
            data = data[:place] + bytes([flipped]) + data[place + 1 :]
        elif kind == "cut":
            data = data[:place]
        elif kind == "double":
            data = data[:place] + data
        elif kind == "insert":
            data = data[:place] + draw(st.binary(max_size=5)) + data[place:]
        elif kind == "empty":
            data = b""
    return data


def encoded(texts):
    return texts.flatmap(
        lambda text: st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16")).map(
            lambda name: text.encode(name, "surrogatepass")
        )
    )


def bomb(size):
    return gzip.compress(b"a" * size)


def files(contents):
    """`put(path)` makes a file, or something else where a file is looked for."""
    others = (
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("."),
        os.mkfifo,
    )
    return mostly(
        contents.map(lambda data: lambda path: path.write_bytes(data)), st.sampled_from(others)
    )
