"""Which units track a property of the text, by a score.

A unit's direction (high or low where the property holds) is chosen on the first half of the text and
its score computed on the second. Even so the best of many units scores above chance. `chance` says by
how much: it is the best score of the same units against the same property shifted along the text, which
keeps, say, the lengths of quotes but not their places.
"""

from typing import NamedTuple

import numpy as np

from experiments.look_inside.text import Property

FEWEST = 20  # characters with the property, and without it, that each half must have
SHIFTS = 20


class Score(NamedTuple):
    unit: int  # a column of the activations
    score: float  # AUC in [0, 1], or rank correlation in [-1, 1]; held out
    sign: int  # 1: high where the property holds (or is large); -1: low


class Ranked(NamedTuple):
    graded: bool
    scores: list[Score]  # best first, every column
    chance: float  # the best score of any column against the shifted property


def rank_units(activations: np.ndarray, properties: dict[str, Property]) -> dict[str, Ranked]:
    """Ranks columns by how well each tracks each property.

    Args:
      activations: `[T, U]`.
      properties: the properties of the text, values `[T]`.

    Returns:
      The ranking by property, without those that are too rare, too common or constant in a half.
    """
    middle = len(activations) // 2
    halves = [centred_ranks(x) for x in (activations[:middle], activations[middle:])]
    ranking = {}
    for name, (values, graded, _) in properties.items():
        held_out, signs = _held_out(halves, values[:, None], graded)
        if not len(held_out):
            continue
        order = np.argsort(-held_out[0], kind="stable")
        scores = [Score(int(u), float(held_out[0, u]), int(signs[0, u])) for u in order]
        shifts = [k * len(values) // (SHIFTS + 1) for k in range(1, SHIFTS + 1)]
        moved = np.stack([np.roll(values, shift) for shift in shifts], axis=1)
        chance = float(_held_out(halves, moved, graded)[0].max(initial=-1.0))
        ranking[name] = Ranked(graded, scores, chance)
    return ranking


class Ranks(NamedTuple):
    centred: np.ndarray  # [T, U], of mean 0
    norms: np.ndarray  # [U]


def centred_ranks(x: np.ndarray) -> Ranks:
    """The ranks within every column of `[T, U]`, less their mean."""
    centred = column_ranks(x) - (len(x) + 1) / 2
    return Ranks(centred, np.sqrt((centred**2).sum(0)))


def auc(ranks: Ranks, holds: np.ndarray) -> np.ndarray:
    """P(a unit is higher where a property holds than where it does not), ties counted half.

    This is the Mann-Whitney statistic, `[K, U]` for K properties, holds `[T, K]` bool, and U units. No
    property may hold everywhere, or nowhere.
    """
    with_it = holds.sum(0)[:, None]
    return 0.5 + holds.T.astype(float) @ ranks.centred / (with_it * (len(holds) - with_it))


def rank_correlation(ranks: Ranks, values: np.ndarray) -> np.ndarray:
    """Spearman's correlation of values `[T, K]` with every unit, `[K, U]`; 0 if one is constant."""
    wanted = centred_ranks(values)
    size = wanted.norms[:, None] * ranks.norms
    return wanted.centred.T @ ranks.centred / np.where(size > 0, size, 1)


def _held_out(
    halves: list[Ranks], values: np.ndarray, graded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scores on the second half, by directions from the first, and the directions; both `[K, U]`.

    Columns of values `[T, K]` that cannot be scored in one of the halves are left out.
    """
    middle = len(halves[0].centred)
    enough = _enough(values[:middle], graded) & _enough(values[middle:], graded)
    score = rank_correlation if graded else auc
    first = score(halves[0], values[:middle, enough])
    second = score(halves[1], values[middle:, enough])
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


def _enough(values: np.ndarray, graded: bool) -> np.ndarray:
    """Which columns of `[T, K]` can be scored, `[K]`."""
    if graded:
        return (len(values) >= FEWEST) & (values.max(0, initial=0) > values.min(0, initial=np.inf))
    holds = values.sum(0)
    return (holds >= FEWEST) & (holds <= len(values) - FEWEST)
