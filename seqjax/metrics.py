"""How wrong a prediction is, counted."""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from seqjax.errors import InputError
from seqjax.types import Array


def edit_distance(a: Sequence[int] | np.ndarray, b: Sequence[int] | np.ndarray) -> int:
    """The fewest insertions, deletions and substitutions that make `a` into `b` (Levenshtein)."""
    a, b = np.asarray(a), np.asarray(b)
    places = np.arange(len(b) + 1)
    row = places  # distances from the first i of a to the first 0, 1, ... of b
    for symbol in a:
        # by a deletion, or a substitution where the symbols differ ...
        new = row + 1
        new[1:] = np.minimum(new[1:], row[:-1] + (b != symbol))
        # ... and then any number of insertions
        row = np.minimum.accumulate(new - places) + places
    return int(row[-1])


def greedy_errors(logits: Array, length: Array, labels: Array, label_length: Array) -> Array:
    """`edit_distance` between `greedy`'s labelling and the labels, `[]` int32, under `jit`.

    Args:
      logits: `[T, V]`; the blank is V - 1.
      length: the number of valid frames.
      labels: integers `[L]`.
      label_length: the number of valid labels.
    """
    best, blank = logits.argmax(-1), logits.shape[-1] - 1
    before = jnp.concatenate([jnp.full(1, blank, best.dtype), best[:-1]])
    said = (best != blank) & (best != before) & (jnp.arange(len(best)) < length)

    def symbol(row: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
        label, counts = inputs
        change = row[:-1] + (label != labels)
        first = row[0] + 1

        def insertion(left: Array, best_above: Array) -> tuple[Array, Array]:
            here = jnp.minimum(left + 1, best_above)
            return here, here

        _, rest = lax.scan(insertion, first, jnp.minimum(change, row[1:] + 1))
        new = jnp.concatenate([first[None], rest])
        return jnp.where(counts, new, row), None

    row, _ = lax.scan(symbol, jnp.arange(len(labels) + 1), (best, said))
    return row[label_length]


def character_error_rate(
    decoded: Iterable[Sequence[int] | np.ndarray], truth: Iterable[Sequence[int] | np.ndarray]
) -> float:
    """Edit distances over the length of the truth, both summed over sequences; may exceed 1.

    Raises:
      InputError: if there are not as many sequences in both, or no label in the truth.
    """
    decoded, truth = list(decoded), list(truth)
    labels = sum(map(len, truth))
    if len(decoded) != len(truth) or not labels:
        raise InputError(
            f"an error rate needs as many decoded as true sequences, and a label in these; got"
            f" {len(decoded)} and {len(truth)} sequences, and {labels} labels."
        )
    return sum(edit_distance(a, b) for a, b in zip(decoded, truth, strict=True)) / labels


Chunk = tuple[str, int, int]  # type, first word, word after the last


def chunks(tags: Sequence[str], *, strict: bool = False) -> set[Chunk]:
    """The chunks that tags B-X, I-X and O mark in one sentence.

    Args:
      tags: one for each word; any tag that is not B-X or I-X is outside.
      strict: a chunk begins at B-X alone, and an I-X that continues none is outside; otherwise, as
        in the official script of CoNLL's shared tasks (conlleval), it begins one.
    """
    found: set[Chunk] = set()
    kind, start = "", 0
    for place, tag in enumerate([*tags, "O"]):
        letter, _, name = tag.partition("-")
        if kind and not (letter == "I" and name == kind):
            found.add((kind, start, place))
            kind = ""
        if (letter == "B" or (letter == "I" and not strict)) and not kind:
            kind, start = name, place
    return found


def chunk_f1(
    truth: Iterable[Sequence[str]], given: Iterable[Sequence[str]], *, strict: bool = False
) -> float:
    """F1 of chunks over all sentences: a chunk is right if its type and both of its ends are.

    Args:
      truth: the true tags of each sentence.
      given: as many tags for each sentence.
      strict: as of `chunks`, for both.

    Raises:
      InputError: if there are not as many sentences, or sentences have different numbers of tags.
    """
    truth, given = list(truth), list(given)
    if len(truth) != len(given):
        raise InputError(f"there are {len(truth)} sentences, and tags were given for {len(given)}.")
    right = marked = there = 0
    for true_tags, given_tags in zip(truth, given, strict=True):
        if len(true_tags) != len(given_tags):
            raise InputError(
                f"a sentence has {len(true_tags)} tags and was given {len(given_tags)}."
            )
        wanted, found = chunks(true_tags, strict=strict), chunks(given_tags, strict=strict)
        right += len(wanted & found)
        marked += len(found)
        there += len(wanted)
    return 2 * right / (marked + there) if marked + there else 1.0
