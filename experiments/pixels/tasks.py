"""What is read: images, and strings to be copied."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from experiments.common.sequential_images import Splits, load
from seqjax.tasks.recall import copying
from seqjax.types import Array


class Task(NamedTuple):
    """Sequences and what is asked of them.

    Attributes:
      name: for the table.
      input_size: D.
      num_steps: T.
      classes: how many answers there are.
      chance: the loss of the best answer that has read nothing, in nats.
      splits: of images; None where sequences are drawn.
      draw: `(key, batch_size) -> (xs [B, T, D], labels [B, T], weights [B, T])`, where they are.
    """

    name: str
    input_size: int
    num_steps: int
    classes: int
    chance: float
    splits: Splits | None = None
    draw: Callable[[Array, int], tuple[Array, Array, Array]] | None = None


def images(data: str, size: int, order: str, seed: int) -> Task:
    """Digits of scikit-learn (8 x 8) or of a folder in MNIST's format, as `sequential_images.load` reads them."""
    splits = load(data, size, order, seed)
    _, num_steps, input_size = splits.train.xs.shape
    side = 8 if data == "digits" else size
    return Task(f"{order} of {side} x {side}", input_size, num_steps, 10, float(np.log(10)), splits)


def copy(length: int) -> Task:
    """The copying problem: ten symbols of eight kinds, given back after `length` blanks."""

    def draw(key: Array, batch_size: int) -> tuple[Array, Array, Array]:
        inputs, targets, weights, _ = copying(key, batch_size, length)
        return inputs.swapaxes(0, 1), targets.T, weights.T

    num_steps = length + 20
    return Task(
        f"copy over {length}", 10, num_steps, 9, 10 * float(np.log(8)) / num_steps, draw=draw
    )


def key_of(seed: Array, epoch: Array) -> Array:
    """The key of an epoch of a network."""
    return jax.random.fold_in(jax.random.key(seed), epoch)
