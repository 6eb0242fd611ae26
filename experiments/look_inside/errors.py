"""Where a character model errs (Karpathy, Johnson and Fei-Fei, 2015, section 4.4).

An error is a character to which the model gave a probability below 1/2. Slices are cut off one after
another, each from the errors that remain:

    n-gram          some n-gram model, n = 1..9, gives the character more than 1/2
    dynamic memory  the character is in a word (of letters, digits and _) that also stood in the last
                    1000 characters; not its first one, which does not tell yet which word it is
    rare word       the word occurs at most five times in the training text
    word start      the character follows a space, a newline or a quote
    punctuation     the character follows another one that is no letter or digit
    rest            all other errors

The n-gram models are interpolated by Witten and Bell's method, as in `seqjax.models.ngram`; the paper's
by Kneser and Ney's. The paper describes its memory oracle only in words: the window is ours.
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
    characters: int  # how many were predicted
    errors: int
    slices: dict[str, int]  # errors in each slice, in the order of SLICES; they add up to `errors`


def break_down(
    probability: np.ndarray, text: str, train: str, ids: np.ndarray, train_ids: np.ndarray
) -> Errors:
    """Counts the errors on a text, slice by slice.

    Args:
      probability: `[T]`, of each character given all before it; the first one's is not used.
      text: T characters.
      train: the text the model was trained on.
      ids: the tokens of `text`, `[T]`.
      train_ids: the tokens of `train`.
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
    """Which characters are in a word that occurred shortly before, and which in a rare one; `[T]`."""
    repeated, rare = np.zeros(len(text), bool), np.zeros(len(text), bool)
    counts = Counter(WORD.findall(train))
    last: dict[str, int] = {}  # the last place of each word
    for word in WORD.finditer(text):
        start, end = word.span()
        if word[0] in last:
            repeated[start + 1 : end] = last[word[0]] >= start - MEMORY
        rare[start:end] = counts[word[0]] <= RARE
        last[word[0]] = start
    return repeated, rare


def ngram_probabilities(train: np.ndarray, test: np.ndarray, order: int) -> np.ndarray:
    """Witten-Bell probabilities of each token of `test` by models of order 1..n, `[n, M]`.

    Every order is as `seqjax.models.ngram.witten_bell` has it. Only contexts that occur in `test` are
    counted, so that nine orders take seconds on ten million characters.
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
            pairs[:length] = -1  # too early for a context of this length: one that training lacks
            names, context = np.unique(pairs, return_inverse=True)
            fits = place >= length
            place, train_context = place[fits], train_context[fits]
            keys = train_context * size + train[place - length]
            nearest = np.minimum(np.searchsorted(names, keys), len(names) - 1)
            known = names[nearest] == keys
            place, train_context = place[known], nearest[known]
        num_contexts = int(context.max()) + 1
        grams, counts = np.unique(train_context * size + train[place], return_counts=True)
        total = np.bincount(train_context, minlength=num_contexts)[context]
        kinds = np.bincount(grams // size, minlength=num_contexts)[context]
        count = np.zeros(len(test))
        if len(grams):
            wanted = context * size + test
            nearest = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
            count = np.where(grams[nearest] == wanted, counts[nearest], 0)
        seen = total > 0
        smoothed = (count + kinds * shorter) / np.where(seen, total + kinds, 1)
        shorter = np.where(seen, smoothed, shorter)
        levels.append(shorter)
    return np.stack(levels)
