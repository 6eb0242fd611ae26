"""Formulas as trees, with the exact value of every part.

ListOps-lite: digits under MIN, MAX, MED (the mean, rounded down, which is the median of two) and SM (the
sum modulo 10), after Nangia and Bowman (2018), whose operators take up to five arguments. Boolean: the
truth of formulas of not, and, or, xor.

A formula is binarised as theirs: the operator is the first leaf, and takes its arguments one by one,
((MAX 3) 8). The depth of a formula is the number of operators that are nested in it; depth 0 is a value.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.types import Tree

DEEPEST = 30
CLOSE = "]"


class Language(NamedTuple):
    """A language of formulas.

    Attributes:
      values: how each value is written; the number of a value is its place.
      operators: name -> (number of arguments, function of values).
    """

    values: tuple[str, ...]
    operators: dict[str, tuple[int, Callable[..., int]]]

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens; an id is a place. The last one closes an operator in a string."""
        return (*self.values, *self.operators, CLOSE)


LISTOPS = Language(
    tuple("0123456789"),
    {
        "MIN": (2, min),
        "MAX": (2, max),
        "MED": (2, lambda a, b: (a + b) // 2),
        "SM": (2, lambda a, b: (a + b) % 10),
    },
)
BOOLEAN = Language(
    ("false", "true"),
    {
        "not": (1, lambda a: 1 - a),
        "and": (2, lambda a, b: a & b),
        "or": (2, lambda a, b: a | b),
        "xor": (2, lambda a, b: a ^ b),
    },
)
LANGUAGES = {"listops": LISTOPS, "boolean": BOOLEAN}


def draw_formula(rng: np.random.Generator, language: Language, depth: int) -> Tree:
    """A formula of exactly this depth.

    The operator is any with equal probability; one argument, either with equal probability, has the
    depth less one, the other any depth below that of the formula. Values are uniform.

    Args:
      rng: the randomness.
      language: of the formula.
      depth: from 0 to 30.

    Returns:
      The binarised tree in post-order: tokens are ids of `language.tokens`, -1 at inner nodes; labels are
      values, -1 at operators that are no formula yet.

    Raises:
      InputError: if the depth is out of range.
    """
    if type(depth) is not int or not 0 <= depth <= DEEPEST:
        raise InputError(f"depth must be an integer from 0 to {DEEPEST}, got {shown(depth)}.")
    rows: list[tuple[int, int, int, int]] = []  # both children, token, label

    def grow(depth: int) -> int:
        """Adds a formula; returns its value. Its root is the last row."""
        if not depth:
            value = int(rng.integers(len(language.values)))
            rows.append((-1, -1, value, value))
            return value
        number = int(rng.integers(len(language.operators)))
        arity, function = tuple(language.operators.values())[number]
        depths = [depth - 1, *(int(d) for d in rng.integers(depth, size=arity - 1))]
        rows.append((-1, -1, len(language.values) + number, -1))
        values = []
        for argument in rng.permutation(arity):
            head = len(rows) - 1
            values.append(grow(depths[argument]))
            rows.append((head, len(rows) - 1, -1, -1))
        value = function(*values)
        rows[-1] = (*rows[-1][:3], value)
        return value

    grow(depth)
    array = np.array(rows, np.int32)
    return Tree(array[:, :2], array[:, 2], array[:, 3])


def as_string(tree: Tree, language: Language) -> tuple[np.ndarray, np.ndarray]:
    """A formula as a string, each operator closed by a bracket: `MAX 3 SM 4 5 ] ]`.

    Returns:
      Tokens `[T]` and labels `[T]`: a value's own, and at a closing bracket the value of what it closes;
      -1 at operators.
    """
    is_leaf = tree.tokens >= 0
    written = is_leaf | (tree.labels >= 0)
    tokens = np.where(is_leaf, tree.tokens, len(language.tokens) - 1)
    return tokens[written], tree.labels[written]
