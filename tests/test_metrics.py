"""Chunks and their F1, by hand and against seqeval."""

import numpy as np
import pytest

from seqjax import InputError
from seqjax.metrics import chunk_f1, chunks

TAGS = ("B-X", "I-X", "B-Y", "I-Y", "O")


@pytest.mark.parametrize(
    ("tags", "lenient", "strict"),
    [
        ("B-X I-X O", {("X", 0, 2)}, {("X", 0, 2)}),
        ("O I-X I-X", {("X", 1, 3)}, set()),
        ("B-X I-Y", {("X", 0, 1), ("Y", 1, 2)}, {("X", 0, 1)}),
        ("B-X B-X", {("X", 0, 1), ("X", 1, 2)}, {("X", 0, 1), ("X", 1, 2)}),
        ("B-X I-X I-Y I-X", {("X", 0, 2), ("Y", 2, 3), ("X", 3, 4)}, {("X", 0, 2)}),
        ("", set(), set()),
    ],
)
def test_chunks_by_hand(tags, lenient, strict):
    assert chunks(tags.split()) == lenient
    assert chunks(tags.split(), strict=True) == strict


def test_f1_by_hand():
    truth, given = [["B-X", "I-X", "O", "B-Y"]], [["B-X", "O", "O", "B-Y"]]
    assert chunk_f1(truth, given) == pytest.approx(0.5)  # one of two right, two marked
    assert chunk_f1(truth, truth) == 1
    assert chunk_f1([["O"]], [["O"]]) == 1
    with pytest.raises(InputError, match="has 4 tags and was given 1"):
        chunk_f1(truth, [["O"]])


def test_equals_seqeval_on_any_tags():
    metrics = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme")
    random = np.random.default_rng(0)
    for _ in range(200):
        lengths = random.integers(1, 9, size=4)
        truth, given = (
            [[TAGS[i] for i in random.integers(5, size=n)] for n in lengths] for _ in range(2)
        )
        # (zero_division: seqeval says 0 where nothing is marked and nothing is there)
        lenient = metrics.f1_score(truth, given, zero_division=0)
        strict = metrics.f1_score(truth, given, mode="strict", scheme=scheme.IOB2, zero_division=0)
        if any(chunks(tags) for tags in truth + given):
            assert chunk_f1(truth, given) == pytest.approx(lenient)
        if any(chunks(tags, strict=True) for tags in truth + given):
            assert chunk_f1(truth, given, strict=True) == pytest.approx(strict)


def test_as_many_sentences_must_be_given():
    with pytest.raises(InputError, match="there are 2 sentences, and tags were given for 1"):
        chunk_f1([["O"], ["O"]], [["O"]])
