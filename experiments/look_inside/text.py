"""Properties of a text that a unit may track, one value per character.

The value at t holds once character t is read: an opening quote is inside, a closing one is not. The
text may be prose or code: the rules fit Python, C and English approximately.
"""

import re
from typing import NamedTuple

import numpy as np

STRING_PREFIX = re.compile(r"(?<![\w])[rRbBuUfF]{1,2}\Z")
OPENING, CLOSING = "([{", ")]}"


class Property(NamedTuple):
    values: np.ndarray  # [T] bool, or float64 if graded
    graded: bool
    rule: str  # one sentence that a reader can check


def properties(text: str) -> dict[str, Property]:
    """All properties of a text of T characters, by name."""
    quotes, comments = _quotes_and_comments(text)
    brackets = _bracket_depth(text, quotes | comments)
    column, share = _columns(text)
    return {
        "inside quotes": Property(
            quotes,
            False,
            "\" or ' (no apostrophe), or three of them; ' ends with its line at the latest, \" at an"
            " empty line.",
        ),
        "inside brackets": Property(
            brackets > 0,
            False,
            "After (, [ or { and before its closing one, outside quotes and comments; an empty line"
            " closes all.",
        ),
        "inside a comment": Property(
            comments, False, "After # at a line's start or a space, to the line's end, or /* to */."
        ),
        "inside an if": Property(
            _inside_if(text, quotes | comments, brackets),
            False,
            "The condition: after if, elif or while at a line's start, to the : or { or the line's"
            " end outside brackets.",
        ),
        "word start": Property(
            _word_start(text), False, "A letter, digit or underscore after something else."
        ),
        "indentation": Property(
            _indentation(text), True, "Spaces at the line's start so far; a tab counts 4."
        ),
        "since the newline": Property(column, True, "Characters since the last newline."),
        "position in the line": Property(
            share, True, "Characters since the last newline, as a share of the line's length."
        ),
    }


def _quotes_and_comments(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Which characters are in quotes and in comments.

    The text may begin within a docstring, so of several readings the one with the least in quotes is
    taken.
    """
    readings = [_scan(text, "")] + [_scan(text, q) for q in ('"""', "'''") if q in text]
    return min(readings, key=lambda reading: int(reading[0].sum()))


def _scan(text: str, until: str) -> tuple[np.ndarray, np.ndarray]:
    """Finds quotes and comments in one pass, since neither can begin inside the other.

    `until` is the text that ends the current one: a quote, three of them, or a comment's end; "" if
    there is none.
    """
    quoted, commented = np.zeros(len(text), bool), np.zeros(len(text), bool)
    t = 0
    while t < len(text):
        width = 1
        if not until:
            until = _opened(text, t)
            width = len(until) if until and until[0] in "\"'" else 1
        elif until[0] in "\"'" and text[t] == "\\":
            width = 2
        elif text.startswith(until, t):
            commented[t : t + len(until) - 1] = until == "*/"
            quoted[t : t + len(until) - 1] = until[0] in "\"'"
            t, until = t + len(until), ""
            continue
        elif (until == "'" and text[t] == "\n") or (until == '"' and text.startswith("\n\n", t)):
            until = ""
        if until:
            commented[t : t + width] = until in ("\n", "*/")
            quoted[t : t + width] = until[0] in "\"'"
        t += width
    return quoted, commented


def _opened(text: str, t: int) -> str:
    """The text that closes the quote or comment which begins at t; "" if none begins there."""
    if text.startswith("/*", t):
        return "*/"
    if text[t] == "#" and (t == 0 or text[t - 1].isspace()):
        return "\n"
    if text[t] in "\"'":
        if text.startswith(text[t] * 3, t):
            return text[t] * 3
        inside_a_word = t > 0 and text[t - 1].isalnum()
        if text[t] == '"' or not inside_a_word or STRING_PREFIX.search(text[max(0, t - 3) : t]):
            return text[t]
    return ""


def _bracket_depth(text: str, skip: np.ndarray) -> np.ndarray:
    """How many brackets are open after each character, `[T]`."""
    depths = np.zeros(len(text), np.int64)
    depth = 0
    for t, character in enumerate(text):
        if not skip[t]:
            depth += (character in OPENING) - (character in CLOSING and depth > 0)
            if character == "\n" and text[t - 1 : t] == "\n":
                depth = 0
        depths[t] = depth
    return depths


def _inside_if(text: str, skip: np.ndarray, brackets: np.ndarray) -> np.ndarray:
    inside = np.zeros(len(text), bool)
    for match in re.finditer(r"^[ \t}]*(?:else )?(?:if|elif|while)\b", text, re.MULTILINE):
        start = match.end()
        if skip[start - 1]:
            continue
        depth, end = brackets[start - 1], start
        while end < len(text):
            outside = brackets[end] <= depth and not skip[end]
            if outside and text[end] in ":;\n":
                break
            if text[end] == "{" and not skip[end] and text[start:end].rstrip().endswith(")"):
                break
            end += 1
        inside[start - 1 : end] = True
    return inside


def _word_start(text: str) -> np.ndarray:
    word = np.array([c.isalnum() or c == "_" for c in text], bool)
    return word & ~np.concatenate([[False], word[:-1]])


def _indentation(text: str) -> np.ndarray:
    values: list[int] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            values.append(0)
        width, leading = 0, True
        for character in line:
            leading = leading and character in " \t"
            width += (4 if character == "\t" else 1) if leading else 0
            values.append(width)
    return np.array(values, float)


def _columns(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Characters since the last newline, 0 at the newline itself, and their share of the line."""
    columns: list[int] = []
    shares: list[float] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            columns.append(0)
            shares.append(0.0)
        columns += range(1, len(line) + 1)
        shares += [k / len(line) for k in range(1, len(line) + 1)]
    return np.array(columns, float), np.array(shares, float)
