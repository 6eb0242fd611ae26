"""Formulas: their values by evaluation of the string, and what is drawn."""

import numpy as np
import pytest

from seqjax import InputError
from seqjax.recurrence.tree import schedule
from seqjax.tasks.formulas import BOOLEAN, CLOSE, LANGUAGES, LISTOPS, as_string, draw_formula

BY_NAME = {
    "MIN": lambda a: min(a),
    "MAX": lambda a: max(a),
    "MED": lambda a: int(np.median(a)),
    "SM": lambda a: sum(a) % 10,
    "not": lambda a: not a[0],
    "and": all,
    "or": any,
    "xor": lambda a: a[0] != a[1],
}


def evaluate(words, values):
    """The value of a string, the depth of its operators, and the value at each closing bracket."""
    stack, closed, deepest = [[]], [], 0
    for word in words:
        if word in BY_NAME:
            stack.append([word])
            deepest = max(deepest, len(stack) - 1)
        elif word == CLOSE:
            name, *arguments = stack.pop()
            stack[-1].append(int(BY_NAME[name](arguments)))
            closed.append(stack[-1][-1])
        else:
            stack[-1].append(values.index(word))
    ((value,),) = stack
    return value, deepest, closed


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("depth", [0, 1, 2, 5, 8])
def test_values_and_depths(name, depth):
    language, rng = LANGUAGES[name], np.random.default_rng(depth)
    for _ in range(30):
        tree = draw_formula(rng, language, depth)
        tokens, labels = as_string(tree, language)
        words = [language.tokens[t] for t in tokens]
        value, deepest, closed = evaluate(words, language.values)
        assert value == tree.labels[-1] == labels[-1]
        assert deepest == depth
        assert closed == labels[np.array(words) == CLOSE].tolist()
        leaves = tree.tokens[tree.tokens >= 0].tolist()
        assert leaves == [t for t in tokens if language.tokens[t] != CLOSE]
        schedule([tree.children], width=4)  # raises if it is no tree


def test_the_median_of_two_is_their_mean_rounded_down():
    _, function = LISTOPS.operators["MED"]
    assert all(function(a, b) == int(np.median([a, b])) for a in range(10) for b in range(10))


def test_everything_is_drawn_as_often_as_said():
    rng = np.random.default_rng(0)
    trees = [draw_formula(rng, BOOLEAN, 1) for _ in range(4000)]
    operators = np.bincount([t.tokens[0] for t in trees], minlength=6)[2:]
    assert np.all(np.abs(operators - 1000) < 5 * np.sqrt(750))
    deep = [draw_formula(rng, LISTOPS, 2) for _ in range(4000)]
    # One argument has depth 1; the other depth 0 or 1: 7 or 9 leaves and so many nodes, either side.
    left = sum(t.children[-1][0] > 2 for t in deep)  # the first argument is no digit
    assert abs(left / 4000 - 0.75) < 0.035


@pytest.mark.parametrize("depth", [-1, 31, 1.0, "2"])
def test_depths_out_of_range_are_refused(depth):
    with pytest.raises(InputError, match="depth must be an integer from 0 to 30"):
        draw_formula(np.random.default_rng(0), LISTOPS, depth)
