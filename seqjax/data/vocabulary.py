"""Vocabularies: text to integers and back."""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError, shown

UNKNOWN = "<unk>"
END_OF_SENTENCE = "<eos>"
KINDS = ("char", "word")


class Encoded(NamedTuple):
    ids: np.ndarray  # [N] int32
    unseen: Counter[str]  # tokens that are not in the vocabulary, and how often each occurred


class Vocabulary:
    """A fixed list of tokens; a token's id is its place. Id 0 is `<unk>`, for all others.

    Attributes:
      kind: "char", every character is a token; or "word", tokens are separated by white space
        and every line ends in `<eos>`, the convention of the Penn Treebank files.
      tokens: the tokens, `<unk>` first.

    Raises:
      InputError: if `tokens` is no such list; it may come from a file that somebody else wrote.
    """

    def __init__(self, kind: str, tokens: list[str]):
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise InputError(f"a vocabulary is a list of strings, got {shown(tokens)}.")
        if kind not in KINDS or not tokens or tokens[0] != UNKNOWN:
            raise InputError(
                f"a vocabulary is of kind {' or '.join(KINDS)} and begins with {UNKNOWN!r}, got"
                f" kind {shown(kind)} beginning with {shown(tokens[:1])}."
            )
        if len(set(tokens)) != len(tokens):
            raise InputError("a vocabulary cannot hold a token twice.")
        for token in tokens[1:] if kind == "char" else ():
            if len(token) != 1 or "\ud800" <= token <= "\udfff":
                raise InputError(f"a token of kind 'char' is one character, got {shown(token)}.")
        self.kind = kind
        self.tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> Encoded:
        """Turns text into ids; unknown tokens become id 0 and are counted."""
        if self.kind == "char":
            return self._encode_characters(text)
        words = split_words(text)
        ids = np.fromiter((self._ids.get(w, 0) for w in words), np.int32, len(words))
        return Encoded(ids, Counter(w for w in words if w not in self._ids))

    def decode(self, ids: np.ndarray) -> str:
        """Turns ids into text; an unknown character is shown as U+FFFD.

        Raises:
          InputError: if an id is not of this vocabulary.
        """
        ids = np.asarray(ids)
        if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= len(self)):
            raise InputError(f"ids must be integers from 0 to {len(self) - 1}, got {shown(ids)}.")
        if self.kind == "char":
            return "".join(self.tokens[i] if i else "\N{REPLACEMENT CHARACTER}" for i in ids)
        text = " ".join(self.tokens[i] for i in ids)
        return re.sub(rf" ?{END_OF_SENTENCE} ?", "\n", text)

    def _encode_characters(self, text: str) -> Encoded:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        table = np.zeros(0x110000, np.int32)
        for token, i in self._ids.items():
            if i:
                table[ord(token)] = i
        ids = table[points]
        missing, counts = np.unique(points[ids == 0], return_counts=True)
        unseen = {chr(p): int(n) for p, n in zip(missing, counts, strict=True)}
        return Encoded(ids, Counter(unseen))


def build_vocabulary(kind: str, text: str, max_size: int = 0) -> Vocabulary:
    """The tokens of `text`: characters in code-point order, words by falling frequency.

    Args:
      kind: "char" or "word".
      text: the training text.
      max_size: keep this many of the most frequent tokens, `<unk>` included; 0 for all.

    Raises:
      InputError: if the text is empty or max_size leaves nothing.
    """
    if kind not in KINDS:
        raise InputError(f"a vocabulary is of kind {' or '.join(KINDS)}, got {shown(kind)}.")
    if type(max_size) is not int or max_size < 0 or max_size == 1:
        raise InputError(f"max_size must be 0 (no limit) or at least 2, got {shown(max_size)}.")
    counts = Counter(text if kind == "char" else split_words(text))
    counts.pop(UNKNOWN, None)
    if not counts:
        raise InputError("cannot build a vocabulary from an empty text.")
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    kept = ranked[: max_size - 1] if max_size else ranked
    return Vocabulary(kind, [UNKNOWN, *(sorted(kept) if kind == "char" else kept)])


def split_words(text: str) -> list[str]:
    """White-space tokens, with `<eos>` at the end of every line that has any; a line ends with a line feed."""
    words: list[str] = []
    for line in text.split("\n"):
        if tokens := line.split():
            words += [*tokens, END_OF_SENTENCE]
    return words
