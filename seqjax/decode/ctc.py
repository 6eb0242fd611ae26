"""Connectionist temporal classification: labels without times (Graves et al., ICML 2006).

A network says at each of T frames one of V symbols; the last one, V - 1, is the blank. A path of T
symbols means the labelling that is left when repeats are merged and then blanks are removed, and
P(labelling) is the sum over all its paths. Labels are 0 ... V - 2.

The decoders take one sequence, in NumPy. The loss is `seqjax.losses.ctc_loss`, error rates are in
`seqjax.metrics`.
"""

import numpy as np

from seqjax.errors import InputError, check_positive


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
