"""The n-gram baseline: interpolated Witten-Bell smoothing (Witten and Bell, 1991).

    p(w | h) = (count(h w) + kinds(h) · p(w | h')) / (count(h) + kinds(h))

kinds(h) is the number of different tokens seen after the context h, and h' is h without its oldest
token; below the empty context stands the uniform distribution over the vocabulary. An order of n
uses contexts of up to n - 1 tokens.
"""

import numpy as np

from seqjax.errors import InputError, check_positive

HIGHEST_ORDER = 100  # every order is a pass over both texts


def witten_bell(train: np.ndarray, test: np.ndarray, vocab_size: int, order: int) -> float:
    """Mean negative log-likelihood of `test` in nats per token, its first token left out.

    The first token is context only, so that the number compares with a language model's, which
    predicts each token from the one before.

    Args:
      train: token ids `[N]`.
      test: token ids `[M]`, M >= 2.
      vocab_size: V; ids lie in [0, V).
      order: n, from 1 to HIGHEST_ORDER.

    Raises:
      InputError: if order or vocab_size is out of range, an id too, or a text is too short.
    """
    check_positive("order", order, at_most=HIGHEST_ORDER)
    check_positive("vocab_size", vocab_size)
    if len(train) < 1 or len(test) < 2:
        raise InputError(
            f"witten_bell needs a training token and two test tokens, got {len(train)} and"
            f" {len(test)}."
        )
    for name, ids in {"train": train, "test": test}.items():
        if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= vocab_size:
            raise InputError(f"the ids of {name} must be integers from 0 to {vocab_size - 1}.")
    train, test = train.astype(np.int64), test.astype(np.int64)
    probability = np.full(len(test), 1.0 / vocab_size)
    # A context is named by a small integer: 0 for the empty one, then the place of the pair
    # (shorter context, one token further back) among those seen in training, -1 for unseen.
    train_context = np.zeros(len(train), np.int64)
    test_context = np.zeros(len(test), np.int64)
    for length in range(min(order, len(train))):
        if length:
            names, train_context = _extend(train_context, train, length, vocab_size)
            test_context = _look_up(names, test_context, test, length, vocab_size)
        probability = _interpolate(
            (train_context, train), (test_context, test), probability, vocab_size
        )
    return float(-np.mean(np.log(probability[1:])))


def _extend(
    context: np.ndarray, tokens: np.ndarray, length: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lengthens every context by one token to the left; returns the names and the new ids."""
    names, ids = np.unique(_pairs(context, tokens, length, vocab_size), return_inverse=True)
    if names[0] == -1:  # positions without so long a past
        names, ids = names[1:], ids - 1
    return names, ids


def _look_up(
    names: np.ndarray, context: np.ndarray, tokens: np.ndarray, length: int, vocab_size: int
) -> np.ndarray:
    return _place(names, _pairs(context, tokens, length, vocab_size))


def _pairs(context: np.ndarray, tokens: np.ndarray, length: int, vocab_size: int) -> np.ndarray:
    pairs = np.full(len(tokens), -1, np.int64)
    pairs[length:] = context[length:] * vocab_size + tokens[: max(len(tokens) - length, 0)]
    return np.where(context < 0, -1, pairs)


def _interpolate(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    shorter: np.ndarray,
    vocab_size: int,
) -> np.ndarray:
    """One level of the formula, at every test position; an unseen context leaves p as it is."""
    (context, token), (test_context, test_token) = train, test
    seen = context >= 0
    context, token = context[seen], token[seen]
    if not len(context):
        return shorter
    grams, gram_counts = np.unique(context * vocab_size + token, return_counts=True)
    num_contexts = int(context.max()) + 1
    context_counts = np.bincount(context, minlength=num_contexts)
    kinds = np.bincount(grams // vocab_size, minlength=num_contexts)

    place = _place(grams, test_context * vocab_size + test_token)
    count = np.where(place >= 0, gram_counts[place], 0)
    known = test_context >= 0
    total, kind = context_counts[test_context], kinds[test_context]
    return np.where(known, (count + kind * shorter) / (total + kind), shorter)


def _place(sorted_values: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The place of each value in a sorted array, -1 where it is absent."""
    if not len(sorted_values):
        return np.full(len(values), -1)
    place = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return np.where(sorted_values[place] == values, place, -1)
