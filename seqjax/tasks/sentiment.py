"""Sentences whose sentiment no bag of words can tell.

    the soup was very good , not bad .  the staff was rude , not at all kind .  ...

Each clause is about one pair of opposite words, of which one is said and the other denied, in one of
two forms: `A , not B` and `not B but A`. The clause is positive if A is the good word of the pair;
the label is what most of the clauses are. Nouns, pairs, forms and the places of adverbs are drawn
without regard to it, so every count of words is as probable under either label: from counts alone
the best accuracy is exactly 50 %, and with the order it is 100 %.
"""

import numpy as np

from seqjax.errors import InputError, check_positive

NOUNS = ("soup", "staff", "room", "view", "music", "price", "wine", "bread")
PAIRS = (
    ("good", "bad"),
    ("kind", "rude"),
    ("fresh", "stale"),
    ("warm", "cold"),
    ("clean", "dirty"),
    ("lovely", "awful"),
)
LABELS = ("negative", "positive")


def sentiment(count: int, *, clauses: int = 3, seed: int = 0) -> list[tuple[tuple[str, ...], str]]:
    """Sentences of so many clauses, each `(words, label)` with a label of `LABELS`.

    Raises:
      InputError: if a size is not positive, or clauses is even: there could be a draw.
    """
    check_positive("count", count)
    if check_positive("clauses", clauses) % 2 == 0:
        raise InputError(f"clauses must be odd, so that there is no draw; got {clauses}.")
    random = np.random.default_rng(seed)
    return [_sentence(random, clauses) for _ in range(count)]


def _sentence(random: np.random.Generator, clauses: int) -> tuple[tuple[str, ...], str]:
    positive = random.integers(2, size=clauses)
    words = [word for sign in positive for word in _clause(random, bool(sign))]
    return tuple(words), LABELS[int(2 * positive.sum() > clauses)]


def _clause(random: np.random.Generator, positive: bool) -> list[str]:
    good, bad = PAIRS[random.integers(len(PAIRS))]
    said, denied = (good, bad) if positive else (bad, good)
    very = ["very"] if random.integers(2) else []
    at_all = ["at", "all"] if random.integers(2) else []
    head = ["the", NOUNS[random.integers(len(NOUNS))], "was"]
    if random.integers(2):
        return [*head, *very, said, ",", "not", *at_all, denied, "."]
    return [*head, "not", *at_all, denied, "but", *very, said, "."]
