"""A linear layer over a cell's outputs, and the losses and scores of what it answers."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from seqjax.types import Array


class Readout(NamedTuple):
    """A linear layer over H units."""

    w: Array  # [H, C]
    b: Array  # [C]

    def answers(self, ys: Array) -> Array:
        """Scores or values `[..., C]` of a cell's outputs `[..., H]`."""
        return ys @ self.w + self.b


def last_outputs(ys: Array, lengths: Array | None = None) -> Array:
    """A cell's output at the last step of each row: `[B, H]` of `[T, B, H]` and lengths `[B]`."""
    if lengths is None:
        return ys[-1]
    return ys[lengths - 1, jnp.arange(ys.shape[1])]


def cross_entropy(answers: Array, targets: Array, weights: Array) -> Array:
    """The weighted mean of the cross-entropy of scores `[..., C]` for classes `[...]`, in nats."""
    losses = optax.softmax_cross_entropy_with_integer_labels(answers, targets)
    return weighted_mean(losses, weights)


def squared_errors(answers: Array, targets: Array) -> Array:
    """The squared error of each value: `[...]` of answers `[..., 1]` and targets `[...]`."""
    return (answers[..., 0] - targets) ** 2


def weighted_mean(values: Array, weights: Array) -> Array:
    """The mean of what counts: weights are 0 or 1; 0 if nothing counts."""
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1)


def accuracy(answers: Array, targets: Array, weights: Array) -> Array:
    """The share of the targets that count whose class has the largest score; NaN if none counts."""
    right = (answers.argmax(axis=-1) == targets) * weights
    return jnp.sum(right) / jnp.sum(weights)
