"""When a sequence counts as right and a network as successful, as the papers define it."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from seqjax.tasks import Episode
from seqjax.types import Array

Wrong = Callable[[Array, Episode], Array]  # (answers, episode) -> bool [B]

SQUARED_ERROR = 0.04  # Pascanu et al. (2013), adding and multiplication
ABSOLUTE_ERROR = 0.04  # Hochreiter and Schmidhuber (1997), experiments 4 and 5
OUTPUT_ERROR = 0.3  # the same, experiments 6a and 6b
WINDOW = 2000  # the same: as many sequences in a row must be right
SUCCESS = 0.01  # Pascanu et al.: less than 1% wrong of 10,000 fresh sequences


def wrong_classes(answers: Array, episode: Episode) -> Array:
    """A sequence is wrong if its largest score is another class's at any step that counts.

    answers `[B, C]` for targets `[B]`, or `[T, B, C]` for targets `[T, B]`; returns bool `[B]`.
    """
    missed = (answers.argmax(axis=-1) != episode.targets) & (episode.weights > 0)
    return missed if missed.ndim == 1 else missed.any(axis=0)


def wrong_values(answers: Array, episode: Episode) -> Array:
    """Pascanu et al. (2013): wrong if the squared error is above 0.04. answers `[B, 1]`."""
    return (answers[..., 0] - episode.targets) ** 2 > SQUARED_ERROR


def wrong_number(answers: Array, episode: Episode) -> Array:
    """Hochreiter and Schmidhuber's experiment 4: wrong if |error| is not below 0.04."""
    return jnp.abs(answers[..., 0] - episode.targets) >= ABSOLUTE_ERROR


def wrong_outputs(answers: Array, episode: Episode) -> Array:
    """Their experiment 6: wrong unless all outputs, in [0, 1], are within 0.3 of the one-hot target."""
    target = episode.targets[:, None] == jnp.arange(answers.shape[-1])
    return (jnp.abs(answers - target) >= OUTPUT_ERROR).any(axis=-1)


def stopping_point(errors: np.ndarray, wrong: np.ndarray, mean_below: float) -> int | None:
    """After how many sequences Hochreiter and Schmidhuber (1997) would have stopped training.

    Their rule: the last 2000 sequences were all right, and the average training error, here over
    the same 2000, is below `mean_below` (.01 in experiment 4, .1 in 6).

    Args:
      errors: the absolute error of every training sequence, in order `[N]`.
      wrong: whether it was wrong `[N]`.

    Returns:
      The number of sequences seen, or None if the rule never held.
    """
    if len(errors) < WINDOW:
        return None
    misses = np.concatenate([[0], np.cumsum(wrong)])
    sums = np.concatenate([[0.0], np.cumsum(errors, dtype=np.float64)])
    held = (misses[WINDOW:] == misses[:-WINDOW]) & (
        sums[WINDOW:] - sums[:-WINDOW] < mean_below * WINDOW
    )
    return int(held.argmax()) + WINDOW if held.any() else None
