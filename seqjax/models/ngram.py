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
    # A context is named by a small integer: 0 for the empty one, then the place of its tokens among all that
    # training has of this length; -1 for one that is not there.
    contexts = np.zeros(len(train), np.int64), np.zeros(len(test), np.int64)
    for _ in range(min(order, len(train))):
        known = contexts[0] >= 0
        grams, places, counts = _count((contexts[0] * vocab_size + train)[known])
        keys = np.where(contexts[1] < 0, -1, contexts[1] * vocab_size + test)
        test_places = _place(grams, keys)
        probability = _interpolate(
            grams // vocab_size, counts, contexts[1], test_places, probability
        )
        # What ends at one token, its context included, is the context of the next.
        train_places = np.full(len(train), -1)
        train_places[known] = places
        contexts = _moved(train_places), _moved(test_places)
    return float(-np.mean(np.log(probability[1:])))


def _count(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different keys in order, the place of each key among them, and how often each occurs."""
    if len(keys) and keys.max() < 4 * len(keys):  # by a table: far faster than to sort
        table = np.bincount(keys)
        found = np.flatnonzero(table)
        return found, (np.cumsum(table > 0) - 1)[keys], table[found]
    return np.unique(keys, return_inverse=True, return_counts=True)


def _interpolate(
    parents: np.ndarray,
    counts: np.ndarray,
    contexts: np.ndarray,
    places: np.ndarray,
    shorter: np.ndarray,
) -> np.ndarray:
    """One level of the formula, at every test position; an unseen context leaves p as it is.

    Args:
      parents: `[G]`, the context of each n-gram of the training text.
      counts: `[G]`, how often it occurs.
      contexts: `[M]`, of the test text; -1 for none.
      places: `[M]`, which n-gram stands there; -1 for none of training's.
      shorter: `[M]`, p given the shorter context.
    """
    if not len(parents):
        return shorter
    size = max(int(parents.max()), int(contexts.max(initial=0))) + 1
    total = np.bincount(parents, weights=counts, minlength=size)[contexts]
    kinds = np.bincount(parents, minlength=size)[contexts]
    count = np.where(places >= 0, counts[places], 0)
    seen = (contexts >= 0) & (total > 0)  # the text's last tokens are followed by none
    return np.where(seen, (count + kinds * shorter) / np.where(seen, total + kinds, 1), shorter)


def _moved(places: np.ndarray) -> np.ndarray:
    """Each value one position later; -1 at the first."""
    return np.concatenate([[-1], places[:-1]])


def _place(sorted_values: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The place of each value in a sorted array, -1 where it is absent."""
    if not len(sorted_values):
        return np.full(len(values), -1)
    place = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return np.where(sorted_values[place] == values, place, -1)
