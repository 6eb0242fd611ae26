"""Labelled sequences: the value that every loader of recordings returns."""

from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError


class Example(NamedTuple):
    inputs: np.ndarray  # [T, D] float32
    targets: np.ndarray  # int32: [T], a class for each frame, or [L], labels without times (CTC);
    # uint8 [T, D], the frame itself, where it is to be predicted


class Sequences(NamedTuple):
    train: list[Example]
    valid: list[Example]
    test: list[Example]
    names: tuple[str, ...]  # of the classes; a target is a place in it. () where there are none


def normalised(sequences: Sequences) -> Sequences:
    """Inputs of zero mean and unit variance, by the statistics of the training frames alone.

    An input that is constant over them tells nothing, and is 0 in every split.

    Raises:
      InputError: if there is no training frame.
    """
    frames = [example.inputs for example in sequences.train if len(example.inputs)]
    if not frames:
        raise InputError("the training split has no frames to take a mean and a variance of.")
    count = sum(map(len, frames))
    mean = sum(x.sum(0, dtype=np.float64) for x in frames) / count
    variance = sum(((x - mean) ** 2).sum(0) for x in frames) / count
    # A float64 holds sums of half a billion equal float32 exactly: a constant has a variance of 0.
    varies = variance > 0
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0)

    def split(examples: list[Example]) -> list[Example]:
        return [e._replace(inputs=((e.inputs - mean) * scale).astype(np.float32)) for e in examples]

    return sequences._replace(
        train=split(sequences.train), valid=split(sequences.valid), test=split(sequences.test)
    )


def check_splits(sequences: Sequences, source: str) -> Sequences:
    """Returns `sequences` if no split is empty, else raises InputError naming the source."""
    for name in ("train", "valid", "test"):
        if not getattr(sequences, name):
            raise InputError(f"{source} has nothing for the {name} split.")
    return sequences
