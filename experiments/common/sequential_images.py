"""Images as sequences: scikit-learn's digits or a folder in MNIST's format, read in one of four orders."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.sets.idx import load_idx
from seqjax.errors import InputError
from seqjax.types import Array

ORDERS = ("pixels", "permuted", "rows", "blocks")
BLOCK = 2  # pixels on each side of a block
CLASSES = 10


class Split(NamedTuple):
    xs: Array  # [N, T, D] float32
    labels: Array  # [N] int32


class Splits(NamedTuple):
    train: Split
    validation: Split
    test: Split


def load(data: str, size: int, order: str, seed: int) -> Splits:
    """Images in one of ORDERS.

    Args:
      data: "digits", of scikit-learn (8 x 8), or the folder.
      size: height and width to which the folder's images are made smaller, by means over areas.
      order: "pixels" from left to right and top to bottom, "permuted" by one permutation drawn from
        `seed`, "rows", or "blocks" of 2 x 2 pixels.
      seed: of the permutation and of what is held out: a tenth of the training images.

    Raises:
      InputError: if the folder cannot be read, or the size does not fit.
    """
    train, labels, test, test_labels = _digits() if data == "digits" else _folder(data, size)
    order_of = np.random.default_rng(seed).permutation(len(train))
    held_out = len(train) // 10
    permutation = np.random.default_rng(seed + 1).permutation(train.shape[1] * train.shape[2])

    def split(pixels: np.ndarray, labels: np.ndarray) -> Split:
        return Split(
            jnp.asarray(in_order(pixels, order, permutation)), jnp.asarray(labels, jnp.int32)
        )

    return Splits(
        split(train[order_of[held_out:]], labels[order_of[held_out:]]),
        split(train[order_of[:held_out]], labels[order_of[:held_out]]),
        split(test, test_labels),
    )


def in_order(pixels: np.ndarray, order: str, permutation: np.ndarray) -> np.ndarray:
    """Images `[N, height, width]` as sequences `[N, T, D]`."""
    count, height, width = pixels.shape
    match order:
        case "rows":
            return pixels
        case "blocks":
            parts = pixels.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
            return parts.swapaxes(2, 3).reshape(count, -1, BLOCK * BLOCK)
        case "permuted":
            return pixels.reshape(count, -1, 1)[:, permutation]
        case _:
            return pixels.reshape(count, -1, 1)


def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The first 1,437 images for training, the other 360 for the test: other writers, for the most part."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels, labels = found.images.astype(np.float32) / 16, found.target
    return pixels[:1437], labels[:1437], pixels[1437:], labels[1437:]


def _folder(data: str, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    splits = load_idx(data)
    for split in (splits.train, splits.test):
        if split.labels.max() >= CLASSES:
            raise InputError(
                f"the labels of {data} must be those of {CLASSES} digits, got {split.labels.max()}."
            )
    smaller = [_shrink(split.pixels, size) for split in splits]
    return smaller[0], splits.train.labels, smaller[1], splits.test.labels


def _shrink(pixels: np.ndarray, size: int) -> np.ndarray:
    """Means over equal squares, as float32 in [0, 1]."""
    count, height, width = pixels.shape
    if height != width or height % size:
        raise InputError(
            f"images of {height} x {width} cannot be made {size} x {size}: give a size that divides both."
        )
    side = height // size
    parts = pixels.reshape(count, size, side, size, side).astype(np.float32)
    return parts.mean((2, 4)) / 255
