"""Which units track a property of the text: found by a number, not by eye.

A unit's direction (high or low where the property holds) is chosen on the first half of the text,
its score taken on the second. Even so the best of many units scores above chance; `chance` says how
far, by scoring the same units against the same property moved along the text, which keeps how long
quotes are and takes away where they are.
"""

from typing import NamedTuple

import numpy as np

from experiments.look_inside_text import Property

FEWEST = 20  # characters with and without the property, in either half
SHIFTS = 20


class Score(NamedTuple):
    unit: int  # a column of the activations
    score: float  # AUC in [0, 1], or rank correlation in [-1, 1]; held out
    sign: int  # 1: high where the property holds (or is large); -1: low


class Ranked(NamedTuple):
    graded: bool
    scores: list[Score]  # best first, every column
    chance: float  # the best score of any column against the property moved along


def rank_units(activations: np.ndarray, properties: dict[str, Property]) -> dict[str, Ranked]:
    """Ranks columns by how well each tracks each property.

    Args:
      activations: `[T, U]`.
      properties: of the text, values `[T]`.

    Returns:
      By property; one that is too rare (or too common, or constant) in either half to be scored
      is left out.
    """
    middle = len(activations) // 2
    halves = [centred_ranks(x) for x in (activations[:middle], activations[middle:])]
    found = {}
    for name, (values, graded, _) in properties.items():
        scored = _held_out(halves, values, graded)
        if scored is None:
            continue
        held_out, signs = scored
        order = np.argsort(-held_out, kind="stable")
        scores = [Score(int(u), float(held_out[u]), int(signs[u])) for u in order]
        shifts = [k * len(values) // (SHIFTS + 1) for k in range(1, SHIFTS + 1)]
        moved = [_held_out(halves, np.roll(values, shift), graded) for shift in shifts]
        chance = max((float(m[0].max()) for m in moved if m), default=-1.0)
        found[name] = Ranked(graded, scores, chance)
    return found


class Ranks(NamedTuple):
    centred: np.ndarray  # [T, U], of mean 0
    norms: np.ndarray  # [U]


def centred_ranks(x: np.ndarray) -> Ranks:
    """The ranks within every column of `[T, U]`, less their mean."""
    centred = column_ranks(x) - (len(x) + 1) / 2
    return Ranks(centred, np.sqrt((centred**2).sum(0)))


def auc(ranks: Ranks, holds: np.ndarray) -> np.ndarray:
    """P(a unit is higher where the property holds than where it does not), ties half; `[U]`.

    The Mann-Whitney statistic; holds is `[T]` bool, neither everywhere nor nowhere true.
    """
    with_it = int(holds.sum())
    return 0.5 + holds.astype(float) @ ranks.centred / (with_it * (len(holds) - with_it))


def rank_correlation(ranks: Ranks, values: np.ndarray) -> np.ndarray:
    """Spearman's correlation of every column with `values [T]`; 0 for a constant column; `[U]`."""
    wanted = centred_ranks(values[:, None])
    size = ranks.norms * wanted.norms[0]
    return wanted.centred[:, 0] @ ranks.centred / np.where(size > 0, size, 1)


def _held_out(
    halves: list[Ranks], values: np.ndarray, graded: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores on the second half and directions from the first; None if a half has too little."""
    middle = len(halves[0].centred)
    parts = (values[:middle], values[middle:])
    if not all(_enough(part, graded) for part in parts):
        return None
    score = rank_correlation if graded else auc
    first, second = (score(r, part) for r, part in zip(halves, parts, strict=True))
    signs = np.where(first >= (0 if graded else 0.5), 1, -1)
    return (second * signs if graded else np.where(signs > 0, second, 1 - second)), signs


def column_ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1 within every column of `[T, U]`, equal values sharing their mean rank."""
    order = np.argsort(x, axis=0)
    ordered = np.take_along_axis(x, order, 0)
    place = np.arange(len(x))[:, None]
    new = np.ones(x.shape, bool)
    new[1:] = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(new, place, 0))
    ends = np.concatenate([new[1:], np.ones((1, x.shape[1]), bool)])
    last = np.minimum.accumulate(np.where(ends, place, len(x))[::-1])[::-1]
    out = np.empty(x.shape)
    np.put_along_axis(out, order, (first + last) / 2 + 1, 0)
    return out


def _enough(values: np.ndarray, graded: bool) -> bool:
    if graded:
        return len(values) >= FEWEST and float(np.ptp(values)) > 0
    return FEWEST <= int(values.sum()) <= len(values) - FEWEST
