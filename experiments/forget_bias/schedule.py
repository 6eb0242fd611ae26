"""The published schedule of a learning rate (Jozefowicz et al., 2015): halved once nothing improves, then an end."""

from typing import NamedTuple

import numpy as np

HALVINGS = 4  # checks at a rate that is halved each time, before training ends


class Schedule(NamedTuple):
    """Where each network of `[L, S]` stands; its training is over where the rate is 0."""

    rate: np.ndarray  # of the updates to come
    best: np.ndarray  # validation score
    since: np.ndarray  # checks since then
    halvings: np.ndarray


def begin(rate: float, shape: tuple[int, ...]) -> Schedule:
    full = np.full(shape, rate, np.float32)
    return Schedule(full, np.full(shape, -np.inf), np.zeros(shape, int), np.zeros(shape, int))


def after_check(now: Schedule, scores: np.ndarray, patience: int) -> Schedule:
    """The schedule after a check with validation scores `[L, S]`.

    Once `patience` checks in turn have brought no better score, the rate is halved before each of HALVINGS more
    checks; then it is 0. A patience of 0 keeps it.
    """
    if not patience:
        return now
    better = scores > now.best
    since = np.where(better, 0, now.since + 1)
    halving = (now.halvings > 0) | (since >= patience)
    halvings = now.halvings + halving
    rate = np.where(halvings > HALVINGS, 0, now.rate * np.where(halving, 0.5, 1)).astype(np.float32)
    return Schedule(rate, np.fmax(now.best, scores), since, halvings)
