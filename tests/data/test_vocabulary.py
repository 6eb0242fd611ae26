"""Vocabularies: the order of the tokens, what is unknown, and the way back to text."""

from collections import Counter

import numpy as np
import pytest

from seqjax.data import Vocabulary, build_vocabulary
from seqjax.errors import InputError


def random_text(seed, alphabet="ab\n\t é漢\U0001f600", size=200):
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(list(alphabet), size)) + alphabet


@pytest.mark.parametrize("seed", range(3))
def test_characters_come_back(seed):
    text = random_text(seed)
    vocabulary = build_vocabulary("char", text)
    assert vocabulary.tokens == ["<unk>", *sorted(set(text))]
    ids, unseen = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert [vocabulary.tokens[i] for i in ids] == list(text)
    assert not unseen
    assert vocabulary.decode(ids) == text


def test_unseen_characters_are_counted_and_shown():
    vocabulary = build_vocabulary("char", "abc")
    ids, unseen = vocabulary.encode("azbz\U0001f600")
    assert ids.tolist() == [1, 0, 2, 0, 0]
    assert unseen == Counter({"z": 2, "\U0001f600": 1})
    assert vocabulary.decode(ids) == "a\ufffdb\ufffd\ufffd"


def test_words_come_by_falling_frequency_and_lines_end_in_eos():
    text = "the cat  saw\tthe dog\n\n  \nthe dog ran\n"
    vocabulary = build_vocabulary("word", text)
    assert vocabulary.tokens == ["<unk>", "the", "<eos>", "dog", "cat", "ran", "saw"]
    ids, unseen = vocabulary.encode(text)
    assert ids.tolist() == [1, 4, 6, 1, 3, 2, 1, 3, 5, 2]
    assert not unseen
    assert vocabulary.decode(ids) == "the cat saw the dog\nthe dog ran\n"


def test_unknown_words_are_counted_but_a_literal_unk_is_known():
    vocabulary = build_vocabulary("word", "a b a <unk> <unk> <unk>\n")
    assert vocabulary.tokens == ["<unk>", "a", "<eos>", "b"]
    ids, unseen = vocabulary.encode("b <unk> c c a")
    assert ids.tolist() == [3, 0, 0, 0, 1, 2]
    assert unseen == Counter({"c": 2})


@pytest.mark.parametrize(
    ("kind", "text", "tokens"),
    [
        ("char", "bbbaacz", ["<unk>", "a", "b"]),  # the most frequent, in code-point order
        ("word", "b b b a a c\n", ["<unk>", "b", "a"]),
        ("word", "b a\n", ["<unk>", "<eos>", "a"]),  # a tie goes to the smaller
    ],
)
def test_max_size_keeps_the_most_frequent(kind, text, tokens):
    vocabulary = build_vocabulary(kind, text, max_size=3)
    assert vocabulary.tokens == tokens
    assert len(vocabulary) == 3
    assert len(build_vocabulary(kind, text, max_size=100)) == len(build_vocabulary(kind, text))


@pytest.mark.parametrize("kind", ["char", "word"])
def test_an_empty_text_encodes_to_nothing(kind):
    ids, unseen = build_vocabulary(kind, "abc").encode("")
    assert ids.shape == (0,)
    assert not unseen


@pytest.mark.parametrize("kind", ["char", "word"])
def test_a_vocabulary_is_rebuilt_from_its_tokens(kind):
    text = random_text(7)
    vocabulary = build_vocabulary(kind, text)
    again = Vocabulary(kind, list(vocabulary.tokens))
    np.testing.assert_array_equal(again.encode(text).ids, vocabulary.encode(text).ids)


@pytest.mark.parametrize(
    ("kind", "text", "max_size", "message"),
    [
        ("char", "", 0, "empty text"),
        ("word", " \n ", 0, "empty text"),
        ("word", "<unk>", 2, None),  # <eos> is left
        ("char", "ab", 1, "max_size must be 0 .* got 1"),
        ("char", "ab", -4, "max_size must be 0 .* got -4"),
        ("byte", "ab", 0, "'byte'"),
    ],
)
def test_building_refuses_bad_arguments(kind, text, max_size, message):
    if message is None:
        assert build_vocabulary(kind, text, max_size).tokens == ["<unk>", "<eos>"]
        return
    with pytest.raises(InputError, match=message):
        build_vocabulary(kind, text, max_size)


@pytest.mark.parametrize("tokens", [[], ["a", "<unk>"], ["<unk>", "a", "a"]])
def test_bad_token_lists_are_refused(tokens):
    with pytest.raises(InputError, match="vocabulary"):
        Vocabulary("char", tokens)
