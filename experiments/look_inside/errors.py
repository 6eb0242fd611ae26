"""Where a character model errs (Karpathy, Johnson and Fei-Fei, 2015, section 4.4).

An error is a character to which the model gave less than 1/2. Slices are cut off one after the
other, each from what the ones before left:

    n-gram          some n-gram model, n = 1..9, gives the character more than 1/2
    dynamic memory  the character is in a word (of letters, digits and _) that stood, whole, in the
                    1000 characters before; not its first one, as which word comes is not known yet
    rare word       the word occurs five times or less in the training text
    word start      the character follows a space, a newline or a quote
    punctuation     the character follows another that is no letter or digit
    rest

The n-gram models are interpolated Witten-Bell ones, as `seqjax.models.ngram`; the paper's are Kneser-Ney.
Its fourth oracle, of memory, is described there in words alone: the window is ours.
"""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np

HIGHEST_ORDER = 9
MEMORY = 1000  # characters
RARE = 5  # occurrences
PUBLISHED = {"n-gram": 0.18, "dynamic memory": 0.06, "rare word": 0.09, "word start": 0.37}
SLICES = (*PUBLISHED, "punctuation", "rest")
WORD = re.compile(r"\w+")


class Errors(NamedTuple):
    characters: int  # predicted
    errors: int
    slices: dict[str, int]  # errors of each, in the order of SLICES; they add up to `errors`


def break_down(
    probability: np.ndarray, text: str, train: str, ids: np.ndarray, train_ids: np.ndarray
) -> Errors:
    """The errors on a text, by slice.

    Args:
      probability: `[T]`, of each character given all before it; that of the first is not used.
      text: T characters.
      train: the text the model was trained on.
      ids: of `text`.
      train_ids: of `train`.
    """
    left = probability < 0.5
    left[0] = False
    total = int(left.sum())
    slices = {}
    for name, covered in zip(SLICES, _oracles(text, train, ids, train_ids), strict=True):
        slices[name] = int((left & covered).sum())
        left = left & ~covered
    return Errors(len(text) - 1, total, slices)


def _oracles(text: str, train: str, ids: np.ndarray, train_ids: np.ndarray) -> list[np.ndarray]:
    repeated, rare = words_seen_and_rare(text, train)
    before = " " + text[:-1]
    after_space = np.array([c.isspace() or c in "\"'`“”‘’" for c in before])
    after_mark = np.array([not (c.isalnum() or c == "_") for c in before])
    by_ngram = np.max(ngram_probabilities(train_ids, ids, HIGHEST_ORDER), axis=0) > 0.5
    return [by_ngram, repeated, rare, after_space, after_mark, np.ones(len(text), bool)]


def words_seen_and_rare(text: str, train: str) -> tuple[np.ndarray, np.ndarray]:
    """Which characters stand in a word that was there shortly before, and in a rare one; `[T]`."""
    repeated, rare = np.zeros(len(text), bool), np.zeros(len(text), bool)
    counts = Counter(WORD.findall(train))
    last: dict[str, int] = {}  # where each word was met last
    for word in WORD.finditer(text):
        start, end = word.span()
        if word[0] in last:
            repeated[start + 1 : end] = last[word[0]] >= start - MEMORY
        rare[start:end] = counts[word[0]] <= RARE
        last[word[0]] = start
    return repeated, rare


def ngram_probabilities(train: np.ndarray, test: np.ndarray, order: int) -> np.ndarray:
    """Witten-Bell probabilities of each token of `test` by models of order 1..n, `[n, M]`.

    As `seqjax.models.ngram.witten_bell`, each order by itself. Only contexts that `test` has are counted,
    which is what makes nine orders of ten million characters a matter of seconds.
    """
    train, test = train.astype(np.int64), test.astype(np.int64)
    size = int(max(train.max(), test.max())) + 1
    levels = []
    shorter = np.full(len(test), 1.0 / size)
    context, place = np.zeros(len(test), np.int64), np.arange(len(train))
    train_context = np.zeros(len(train), np.int64)  # of the places whose context test has
    for length in range(order):
        if length:
            pairs = context * size + np.concatenate([np.full(length, -1), test[:-length]])
            pairs[:length] = -1  # no so long past: a context that is never met in training
            names, context = np.unique(pairs, return_inverse=True)
            fits = place >= length
            place, train_context = place[fits], train_context[fits]
            keys = train_context * size + train[place - length]
            found = np.minimum(np.searchsorted(names, keys), len(names) - 1)
            known = names[found] == keys
            place, train_context = place[known], found[known]
        num_contexts = int(context.max()) + 1
        grams, counts = np.unique(train_context * size + train[place], return_counts=True)
        total = np.bincount(train_context, minlength=num_contexts)[context]
        kinds = np.bincount(grams // size, minlength=num_contexts)[context]
        count = np.zeros(len(test))
        if len(grams):
            wanted = context * size + test
            found = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
            count = np.where(grams[found] == wanted, counts[found], 0)
        seen = total > 0
        smoothed = (count + kinds * shorter) / np.where(seen, total + kinds, 1)
        shorter = np.where(seen, smoothed, shorter)
        levels.append(shorter)
    return np.stack(levels)
