"""What a tagger reads of each word: its id, those of its endings and capitals, its letters."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.common.saved_networks import SavedNetwork
from experiments.common.words import frequent, ids, places
from seqjax.data.orders import padded
from seqjax.data.sets.columns import TaggedSentence
from seqjax.errors import InputError

SUFFIX_NAMES = ("last 1", "last 2", "last 3")  # letters of a word
LONGEST_WORD = 24  # letters that are read
SHAPES = ("lower", "Capital", "UPPER", "mIxed", "1digit", "other")


class Readers(NamedTuple):
    """The values that each feature of a word has, from the training sentences; id 0 is any other."""

    names: tuple[str, ...]  # of the features that are ids, the word's own first
    values: list[list[str]]  # of each
    letters: list[str]  # of single letters; [] where they are not read

    def identity(self) -> dict[str, list[str]]:
        """What a saved network cannot be read without, for `readers_from`."""
        values = zip(self.names, self.values, strict=True)
        return {"features": list(self.names), "letters": self.letters} | {
            f"values of {name}": found for name, found in values
        }

    def encode(self, sentences: Sequence[TaggedSentence]) -> dict[str, np.ndarray]:
        """Sentences, padded with zeros: ids `[N, T, F]`, and letters `[N, T, L]` if they are read."""
        tables = [places(values) for values in self.values]
        columns = [
            [ids(_column(name, s), table) for name, table in zip(self.names, tables, strict=True)]
            for s in sentences
        ]
        found = {"features": padded([np.stack(rows, 1) for rows in columns])}
        if self.letters:
            table = places(self.letters)
            found["letters"] = padded([_letters(s.words, table) for s in sentences])
        return found


def make_readers(
    sentences: Sequence[TaggedSentence], wanted: Iterable[str], *, min_count: int
) -> Readers:
    """The readers of some features of FEATURES, from training sentences."""
    wanted = tuple(wanted)
    names = [name for name in wanted if name not in ("suffix", "letters")]
    if "suffix" in wanted:
        names += SUFFIX_NAMES
    values = []
    for name in names:
        found = (value for sentence in sentences for value in _column(name, sentence))
        values.append(frequent(found, min_count=min_count if name == "word" else 1))
    letters = (letter for s in sentences for word in s.words for letter in word)
    return Readers(tuple(names), values, frequent(letters) if "letters" in wanted else [])


def readers_from(saved: SavedNetwork) -> Readers:
    """The readers that were saved with a network.

    Raises:
      InputError: if there are none.
    """
    names, letters = saved.strings("features"), saved.strings("letters")
    known = ("word", "given", "case", *SUFFIX_NAMES)
    if not set(names) <= set(known) or not names:
        raise InputError(f"features in {saved.where} must be some of {', '.join(known)}.")
    return Readers(tuple(names), [saved.strings(f"values of {name}") for name in names], letters)


def shape_of(word: str) -> str:
    """How a word is written, one of SHAPES."""
    if any(letter.isdigit() for letter in word):
        return "1digit"
    if not any(letter.isalpha() for letter in word):
        return "other"
    if word == word.lower():
        return "lower"
    if word == word.upper() and len(word) > 1:
        return "UPPER"
    return "Capital" if word[1:] == word[1:].lower() else "mIxed"


def _letters(words: Sequence[str], table: dict[str, int]) -> np.ndarray:
    """The letters of each word `[T, L]`, counted from 1; 0 is no letter."""
    rows = np.zeros((len(words), LONGEST_WORD), np.int32)
    for row, word in zip(rows, words, strict=True):
        letters = ids(word[:LONGEST_WORD], table) + 1
        row[: len(letters)] = letters
    return rows


def _column(name: str, sentence: TaggedSentence) -> Sequence[str]:
    if name == "word":
        return sentence.words
    if name == "given":
        return sentence.given
    if name == "case":
        return [shape_of(word) for word in sentence.words]
    return [word.lower()[-int(name.split()[1]) :] for word in sentence.words]
