"""The n-gram baseline against its formula, written again with dictionaries."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from seqjax.data import build_vocabulary
from seqjax.errors import InputError
from seqjax.models.ngram import witten_bell


def brute_force(train, test, vocab_size, order):
    counts = defaultdict(Counter)
    for i, token in enumerate(train):
        for n in range(min(order, i + 1)):
            counts[tuple(train[i - n : i])][token] += 1

    def probability(token, context):
        shorter = probability(token, context[1:]) if context else 1 / vocab_size
        if context not in counts:
            return shorter
        seen = counts[context]
        return (seen[token] + len(seen) * shorter) / (seen.total() + len(seen))

    losses = [
        -math.log(probability(test[i], tuple(test[max(0, i - order + 1) : i])))
        for i in range(1, len(test))
    ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("train_size", "test_size", "vocab_size"),
    [(300, 80, 4), (60, 40, 9), (40, 3, 4), (3, 12, 5), (1, 2, 3)],
)
def test_equals_the_formula(order, train_size, test_size, vocab_size):
    rng = np.random.default_rng([order, train_size])
    for _ in range(5):
        # Training never shows the last token; both streams repeat themselves, so that long
        # contexts are met again.
        train = rng.integers(vocab_size - 1, size=train_size)
        train[train_size // 2 :] = train[: train_size - train_size // 2]
        test = rng.integers(vocab_size, size=test_size)
        test[: test_size // 2] = np.resize(train, test_size // 2)
        expected = brute_force(train.tolist(), test.tolist(), vocab_size, order)
        actual = witten_bell(train.astype(np.int32), test.astype(np.int32), vocab_size, order)
        assert actual == pytest.approx(expected, rel=1e-12)


def test_equals_hand_made_numbers():
    # Training abaab: counts a 3, b 2; after a: b 2, a 1; after b: a 1. Test: a, then b, then b.
    train, test = np.array([0, 1, 0, 0, 1]), np.array([0, 1, 1])
    b = (2 + 2 / 2) / (5 + 2)
    b_after_a, b_after_b = (2 + 2 * b) / (3 + 2), (0 + 1 * b) / (1 + 1)
    assert witten_bell(train, test, 2, 1) == pytest.approx(-math.log(b))
    expected = -(math.log(b_after_a) + math.log(b_after_b)) / 2
    assert witten_bell(train, test, 2, 2) == pytest.approx(expected)


def test_uniform_text_costs_log_v_at_order_1():
    rng = np.random.default_rng(0)
    train = rng.permutation(np.repeat(np.arange(7), 11))
    assert witten_bell(train, rng.integers(7, size=50), 7, 1) == pytest.approx(math.log(7))


def test_more_context_helps_on_text_that_repeats():
    text = np.resize(np.random.default_rng(1).integers(5, size=40), 2000)
    losses = [witten_bell(text, text[:200], 5, order) for order in (1, 2, 3, 5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 4 * losses[-1]


@pytest.mark.parametrize("order", [0, -1, 2.0])
def test_bad_orders_are_refused(order):
    with pytest.raises(InputError, match="order must be an integer of at least 1, got"):
        witten_bell(np.arange(3), np.arange(3), 3, order)


@pytest.mark.parametrize(("train_size", "test_size"), [(0, 2), (3, 1), (3, 0)])
def test_short_texts_are_refused(train_size, test_size):
    with pytest.raises(InputError, match=f"got {train_size} and {test_size}"):
        witten_bell(np.arange(train_size), np.arange(test_size), 3, 2)


def test_tiny_shakespeare_at_order_6(data_dir):
    path = data_dir / "tinyshakespeare" / "input.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    text = path.read_text(encoding="utf-8")
    vocabulary = build_vocabulary("char", text)
    ids = vocabulary.encode(text).ids
    cut = len(ids) * 9 // 10
    loss = witten_bell(ids[:cut], ids[cut:], len(vocabulary), 6)
    assert loss / math.log(2) == pytest.approx(2.450, abs=5e-4)
