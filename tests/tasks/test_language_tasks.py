"""The streams of Jozefowicz et al. (2015), read by exact parsers that share no code with them."""

import re
from functools import lru_cache, partial

import jax
import numpy as np
import pytest

from seqjax import InputError
from seqjax.tasks import arithmetic, memorisation_filter, xml
from seqjax.tasks.stream import pack
from seqjax.tasks.sums import ALPHABET as SUMS
from seqjax.tasks.sums import arithmetic_example
from seqjax.tasks.tags import ALPHABET as TAGS
from seqjax.tasks.tags import xml_example

EXAMPLES = 3000


@lru_cache
def draw(example, alphabet):
    """`(text, the scored part of it)` of each example; its padding must be zero."""
    texts = jax.jit(jax.vmap(example))(jax.random.split(jax.random.key(0), EXAMPLES))
    symbols, scored, lengths = (np.asarray(leaf) for leaf in texts)
    past = np.arange(symbols.shape[1]) >= lengths[:, None]
    assert not np.any(symbols[past])
    assert not np.any(scored[past])
    assert lengths.min() >= 1
    found = []
    letters = np.array([*alphabet])
    for row, marks, length in zip(symbols, scored, lengths, strict=True):
        text = letters[row[:length]]
        found.append(("".join(text), "".join(text[marks[:length] == 1])))
    return found


def work_out(text):
    """`(first, sign, second, answer, letters before each character)` of a sum, or fails."""
    assert re.fullmatch(r"[0-9][0-9a-z]*[+-][0-9a-z]*[0-9][a-z]*=-?[0-9]+\.", text), text
    question, answer = text.split("=")
    plain = re.sub("[a-z]", "", question)
    first, sign, second = re.fullmatch(r"(0|[1-9][0-9]*)([+-])(0|[1-9][0-9]*)", plain).groups()
    gaps = [len(gap) for gap in re.split("[^a-z]", question + "=")][1:-1]
    return int(first), sign, int(second), answer, gaps


@pytest.mark.parametrize("max_digits", [1, 4, 8, 9])
def test_sums_are_right_in_python_integers(max_digits):
    example = partial(arithmetic_example, max_digits=max_digits)
    for text, scored in draw(example, SUMS):
        first, sign, second, answer, _ = work_out(text)
        assert max(first, second) < 10**max_digits
        expected = first + second if sign == "+" else first - second
        assert answer == f"{expected}."
        assert scored == answer


def test_distributions_of_sums_are_as_documented():
    found = [work_out(text) for text, _ in draw(arithmetic_example, SUMS)]
    sizes = np.bincount([len(str(n)) for first, _, second, _, _ in found for n in (first, second)])
    assert np.all(np.abs(sizes[1:] / (2 * EXAMPLES) - 1 / 8) < 0.016)  # 3.7 standard deviations
    assert len(sizes) == 9
    assert abs(np.mean([sign == "-" for _, sign, *_ in found]) - 0.5) < 0.035
    assert any(answer.startswith("-") for *_, answer, _ in found)
    gaps = np.concatenate([gaps for *_, gaps in found])
    assert np.all(np.abs(np.bincount(gaps) / len(gaps) - [0.5, 0.25, 0.125, 0.125]) < 0.01)
    tops = np.array([int(str(first)[0]) for first, *_ in found if first >= 10])
    assert np.all(np.abs(np.bincount(tops)[1:] / len(tops) - 1 / 9) < 0.025)  # none is favoured


def test_the_example_of_the_paper_is_one_of_ours():
    first, sign, second, answer, gaps = work_out("3e36d9-h1h39f94eeh43keg3c=-13991064.")
    assert (first, sign, second, answer) == (3369, "-", 13994433, "-13991064.")
    assert np.bincount(gaps).tolist() == [5, 6, 0, 2]


def names(text):
    """The names of the tags as they are opened, with the depth at which they are; or fails."""
    open_tags, found = [], []
    assert re.fullmatch("(</?[a-z]{2,10}>)+", text), text
    for closes, name in re.findall("<(/?)([a-z]+)>", text):
        if closes:
            assert open_tags.pop() == name
        else:
            found.append((name, len(open_tags)))
            open_tags.append(name)
    assert not open_tags
    return found


def test_tags_are_nested_and_named_as_documented():
    found = []
    longest = 0
    for text, scored in draw(xml_example, TAGS):
        assert scored == text
        some = names(text)
        longest = max(longest, len(some))
        found += some
    sizes = np.bincount([len(name) for name, _ in found])[2:]
    assert np.all(np.abs(sizes / sum(sizes) - 1 / 9) < 0.01)
    letters = np.bincount([ord(c) - ord("a") for name, _ in found for c in name])
    assert np.all(np.abs(letters / sum(letters) * 26 - 1) < 0.06)
    assert 30 < longest <= 50  # what fifty steps can open
    assert max(depth for _, depth in found) > 10


def test_the_rule_of_the_steps():
    """The first close or open after the root is opened is a fair coin; so is the end after it."""
    texts = [text for text, _ in draw(xml_example, TAGS)]
    closed = [re.match(r"<(\w+)></\1>", text) for text in texts]
    assert abs(np.mean([c is not None for c in closed]) - 0.5) < 0.03
    alone = [c.end() == len(t) for c, t in zip(closed, texts, strict=True) if c]
    assert abs(np.mean(alone) - 0.5) < 0.045


def test_after_fifty_steps_everything_is_closed():
    """In the fifty steps the walk's turns are seen; those that reach them then only go down."""
    full = 0
    for text, _ in draw(xml_example, TAGS):
        turns = re.findall("<(/?)", text)
        assert set(turns[50:]) <= {"/"}
        full += len(turns) > 50
    assert full > 0.05 * EXAMPLES


@pytest.mark.parametrize(
    "example", [xml_example, pytest.param(arithmetic_example, marks=pytest.mark.long)]
)
def test_packing_leaves_no_gap(example):
    """A stream is the examples one after the other, with their marks, cut at the end."""
    key = jax.random.key(7)
    symbols, scored = jax.jit(partial(pack, example, length=2000))(key)
    whole, marks = [], []
    number = 0
    draw_one = jax.jit(example)
    while len(whole) < 2000:
        text = draw_one(jax.random.fold_in(key, number))
        whole += text.symbols[: text.length].tolist()
        marks += text.scored[: text.length].tolist()
        number += 1
    assert number > 5
    np.testing.assert_array_equal(symbols, whole[:2000])
    np.testing.assert_array_equal(scored, marks[:2000])


@pytest.mark.parametrize(("task", "alphabet"), [(arithmetic, SUMS), (xml, TAGS)])
def test_the_next_character_is_asked_for(task, alphabet):
    episode = jax.jit(partial(task, batch_size=3, length=400))(jax.random.key(1))
    assert episode.inputs.shape == (400, 3, len(alphabet))
    shown = np.asarray(episode.inputs.argmax(-1))
    np.testing.assert_array_equal(shown[1:], episode.targets[:-1])
    rows = ["".join(alphabet[s] for s in row) for row in shown.T]
    assert len(set(rows)) == 3
    if task is arithmetic:  # what follows an "=" counts, up to the full stop
        for row, weights in zip(rows, np.asarray(episode.weights).T, strict=True):
            asked = re.sub("=[^.]*", lambda m: "!" * len(m[0]), row)
            np.testing.assert_array_equal(weights, [c == "!" for c in asked])
    else:
        assert np.all(episode.weights == 1)


def test_the_filter_asks_for_five_symbols_of_26():
    episode = memorisation_filter(jax.random.key(0), 500)
    assert episode.inputs.shape == (11, 500, 28)
    assert np.all(episode.weights.sum(axis=0) == 5)
    np.testing.assert_array_equal(episode.inputs[:5].argmax(-1), episode.targets[6:])
    assert np.all(episode.weights[6:] == 1)
    assert set(np.unique(episode.targets[6:])) == set(range(26))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda key: arithmetic(key, 2, 9, max_digits=0), "max_digits must be an integer of at"),
        (lambda key: arithmetic(key, 2, 9, max_digits=10), "max_digits must be at most 9, got 10"),
        (lambda key: arithmetic_example(key, max_digits=2.0), "max_digits must be an integer"),
        (lambda key: arithmetic(key, 0, 9), "batch_size must be an integer of at least 1, got 0"),
        (lambda key: xml(key, 2, 0), "length must be an integer of at least 1, got 0"),
    ],
)
def test_impossible_sizes(bad, message):
    with pytest.raises(InputError, match=message):
        bad(jax.random.key(0))
