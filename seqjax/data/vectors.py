"""Word vectors that were trained before, from GloVe's text format or an npz file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.files.arrays import read_arrays
from seqjax.files.text import read_text

LARGEST = 1 << 33  # bytes of one file


class Vectors(NamedTuple):
    values: np.ndarray  # [V, D] float32, zeros for a token that has none
    known: np.ndarray  # [V] bool, which tokens have one


def load_vectors(path: str | Path, tokens: Sequence[str]) -> Vectors:
    """The vectors of some tokens; one that has none is looked up in lower case, too.

    Args:
      path: a text file, plain or `.gz`, with a word and its numbers in each line, separated by
        spaces; or an npz file with an array `vectors` `[N, D]`, beside which the file words.txt has
        a word in each line.
      tokens: V words.

    Raises:
      InputError: if the file is no such file, or lines have different numbers of numbers.
    """
    path = Path(path).expanduser()
    wanted = set(tokens) | {token.lower() for token in tokens}
    table = _from_npz(path, wanted) if path.suffix == ".npz" else _from_text(path, wanted)
    if not table:
        raise InputError(f"{path} has no vector of any of the {len(tokens)} words.")
    size = len(next(iter(table.values())))
    values = np.zeros((len(tokens), size), np.float32)
    known = np.zeros(len(tokens), bool)
    for place, token in enumerate(tokens):
        vector = table.get(token, table.get(token.lower()))
        if vector is not None:
            values[place], known[place] = vector, True
    return Vectors(values, known)


def _from_text(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    table: dict[str, np.ndarray] = {}
    size = 0
    for number, line in enumerate(read_text(path, LARGEST).split("\n"), 1):
        word, *numbers = line.rstrip().split(" ")
        if size and len(numbers) > size:  # a word with spaces in it, of which there are some
            word, numbers = " ".join([word, *numbers[:-size]]), numbers[-size:]
        if not numbers or (number == 1 and len(numbers) == 1):  # word2vec begins with its sizes
            continue
        size = size or len(numbers)
        if len(numbers) != size:
            raise InputError(
                f"{path}, line {number}: {len(numbers)} numbers, but {size} in the lines before:"
                f" {shown(line)}."
            )
        if word in wanted:
            try:
                table[word] = np.array(numbers, np.float32)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {error}.") from error
    return table


def _from_npz(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    words = read_text(path.parent / "words.txt", LARGEST).split("\n")
    words = words[:-1] if words and not words[-1] else words
    largest = {"largest_archive": LARGEST, "largest_array": LARGEST}
    vectors = read_arrays(path, {"vectors": (("<f4", "<f2", "<f8"), 2)}, **largest)["vectors"]
    if len(vectors) != len(words):
        raise InputError(
            f"{path} has vectors of shape {vectors.shape}, but words.txt beside it has"
            f" {len(words)} words."
        )
    return {w: vectors[i].astype(np.float32) for i, w in enumerate(words) if w in wanted}
