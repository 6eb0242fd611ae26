"""Connectionist temporal classification: labels without times (Graves et al., ICML 2006).

A network says at each of T frames one of V symbols; the last one, V - 1, is the blank. A path of T
symbols means the labelling that is left when repeats are merged and then blanks are removed, and
P(labelling) is the sum over all its paths. Labels are 0 ... V - 2.

The loss and `greedy_errors` are for training, in JAX, the loss time-major as all of seqjax; decoding takes
one sequence, in NumPy.
"""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from seqjax.errors import InputError, check_positive
from seqjax.types import Array


def ctc_loss(logits: Array, lengths: Array, labels: Array, label_lengths: Array) -> Array:
    """-ln P(labels), `[B]` in nats, the sum over paths by `optax.ctc_loss`.

    Whatever stands in the padding, NaN included, changes neither values nor gradients. A labelling
    that needs more frames than there are (see `fewest_frames`) has a loss of about 1e5.

    Args:
      logits: `[T, B, V]`; the blank is V - 1.
      lengths: integers `[B]`, the number of valid frames.
      labels: integers `[B, L]` in 0 ... V - 2.
      label_lengths: integers `[B]`, the number of valid labels.

    Raises:
      InputError: if the shapes do not fit.
    """
    if logits.ndim != 3 or logits.shape[2] < 2:
        raise InputError(f"logits must be [T, B, V] with V >= 2, got shape {logits.shape}.")
    steps, batch, symbols = logits.shape
    if labels.ndim != 2 or {labels.shape[0], *lengths.shape, *label_lengths.shape} != {batch}:
        raise InputError(
            f"for {batch} sequences, labels must be [B, L] and lengths and label_lengths [B], got"
            f" shapes {labels.shape}, {lengths.shape} and {label_lengths.shape}."
        )
    padded = jnp.arange(steps) >= lengths[:, None]
    label_padded = jnp.arange(labels.shape[1]) >= label_lengths[:, None]
    return optax.ctc_loss(
        jnp.where(padded[..., None], 0, logits.swapaxes(0, 1)),
        padded.astype(logits.dtype),
        jnp.where(label_padded, 0, labels),
        label_padded.astype(logits.dtype),
        blank_id=symbols - 1,
    )


def fewest_frames(labels: Sequence[int] | np.ndarray) -> int:
    """The length of a labelling's shortest path: equal neighbours need a blank between them."""
    labels = np.asarray(labels)
    return len(labels) + int(np.sum(labels[1:] == labels[:-1]))


def greedy(logits: np.ndarray, length: int) -> list[int]:
    """The labelling of the most probable path, which may not be the most probable labelling.

    Args:
      logits: `[T, V]`; the blank is V - 1.
      length: the number of valid frames.
    """
    path = np.argmax(_frames(logits, length), -1)
    first = np.diff(path, prepend=-1) != 0
    return path[first & (path != np.shape(logits)[1] - 1)].tolist()


def prefix_beam(logits: np.ndarray, length: int, width: int) -> list[int]:
    """The most probable labelling, by a search that keeps the `width` best prefixes.

    Hannun et al. ("First-pass large vocabulary continuous speech recognition using bi-directional
    recurrent DNNs", 2014), without a language model. Exact if no prefix is ever dropped.

    Args:
      logits: `[T, V]`; the blank is V - 1.
      length: the number of valid frames.
      width: prefixes kept after each frame.
    """
    check_positive("width", width)
    frames = _frames(logits, length)
    log_p = frames - np.logaddexp.reduce(frames, -1, keepdims=True)
    prefixes: list[tuple[int, ...]] = [()]
    in_blank = np.zeros(1)  # ln P of the paths so far that mean the prefix and end in a blank
    in_label = np.full(1, -np.inf)  # ... in its last label
    for p in log_p:
        last = np.array([prefix[-1] if prefix else -1 for prefix in prefixes])
        either = np.logaddexp(in_blank, in_label)
        longer = either[:, None] + p[:-1]  # [W, V - 1], the prefix with one more label
        rows = np.flatnonzero(last >= 0)
        longer[rows, last[rows]] = in_blank[rows] + p[last[rows]]  # a repeat needs a blank before
        blank = either + p[-1]
        label = np.where(last >= 0, in_label + p[last], -np.inf)
        place = {prefix: row for row, prefix in enumerate(prefixes)}
        for row, prefix in enumerate(prefixes):
            parent = place.get(prefix[:-1]) if prefix else None
            if parent is not None:  # both ways to reach a prefix are one
                label[row] = np.logaddexp(label[row], longer[parent, prefix[-1]])
                longer[parent, prefix[-1]] = -np.inf
        score = np.concatenate([np.logaddexp(blank, label), longer.ravel()])
        best = np.argsort(-score, kind="stable")[:width]
        best = best[score[best] > -np.inf]
        kept, added = best[best < len(prefixes)], best[best >= len(prefixes)] - len(prefixes)
        parents, symbols = np.divmod(added, longer.shape[1])
        prefixes = [prefixes[row] for row in kept] + [
            (*prefixes[row], int(symbol)) for row, symbol in zip(parents, symbols, strict=True)
        ]
        in_blank = np.concatenate([blank[kept], np.full(len(added), -np.inf)])
        in_label = np.concatenate([label[kept], longer.ravel()[added]])
    return list(prefixes[int(np.argmax(np.logaddexp(in_blank, in_label)))])


def _frames(logits: np.ndarray, length: int) -> np.ndarray:
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] < 2 or not 0 <= length <= len(logits):
        raise InputError(
            f"logits must be [T, V] with V >= 2 and T >= length = {length}, got {logits.shape}."
        )
    frames = logits[:length].astype(np.float64)
    if not np.isfinite(frames).all():
        raise InputError("logits must be finite; a model that has diverged says nothing.")
    return frames


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
