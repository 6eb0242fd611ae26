"""The data sets of the search, each with its loss and its score."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import optax

from seqjax.data.sequences import Sequences, normalised
from seqjax.data.sets.handwriting import load_iam_ondb, load_unipen
from seqjax.data.sets.harmony import harmony, independent_entropy
from seqjax.data.sets.piano_rolls import NOTES, independent_notes, load_piano_rolls
from seqjax.data.sets.speech import load_fsdd, load_timit
from seqjax.errors import InputError
from seqjax.losses import binary_cross_entropy, ctc_loss
from seqjax.metrics import greedy_errors
from seqjax.types import Array

TASKS = ("harmony", "music", "handwriting", "phones")
POINTS = (
    20.0  # per second in the stand-in for handwriting, which makes lines about as long as IAM's
)


class Task(NamedTuple):
    """One data set, whose sequences have no batch axis."""

    sequences: Sequences
    outputs: int  # of the network, before sigmoid or softmax
    both_ways: bool  # one network forward, one backward
    loss: Callable[[Array, Array, Array, Array], Array]
    """`(logits [T, V], targets, length, target length) -> nats of the sequence`, a sum over time."""
    score: Callable[[Array, Array, Array, Array], tuple[Array, Array]]
    """The same arguments to `(amount, weight)`; the score of many sequences is Σ amount / Σ weight."""
    unit: str  # of the score
    levels: dict[
        str, float
    ]  # scores to compare with: "baseline" is above a good one, "floor" below


def frame_nll(logits: Array, targets: Array, length: Array, _: Array) -> Array:
    """The nats of a piano roll, summed over notes and time."""
    nats = binary_cross_entropy(logits, targets.astype(jnp.float32)).sum(-1)
    return jnp.sum(nats, where=_inside(nats, length))


def frame_nll_score(
    logits: Array, targets: Array, length: Array, target_length: Array
) -> tuple[Array, Array]:
    return frame_nll(logits, targets, length, target_length), length


def class_loss(logits: Array, targets: Array, length: Array, _: Array) -> Array:
    """The nats of the class of every frame, summed over time."""
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return jnp.sum(nats, where=_inside(nats, length))


def wrong_frames(logits: Array, targets: Array, length: Array, _: Array) -> tuple[Array, Array]:
    wrong = (logits.argmax(-1) != targets) & _inside(targets, length)
    return wrong.sum(), length


def ctc(logits: Array, targets: Array, length: Array, target_length: Array) -> Array:
    """The nats of the labels by connectionist temporal classification; the blank is the last class."""
    return ctc_loss(logits[:, None], length[None], targets[None], target_length[None])[0]


def wrong_labels(
    logits: Array, targets: Array, length: Array, target_length: Array
) -> tuple[Array, Array]:
    """The edit distance of the best path's labels from the targets, and the number of targets."""
    return greedy_errors(logits, length, targets, target_length), target_length


def _inside(x: Array, length: Array) -> Array:
    return jnp.arange(x.shape[0]) < length


def load(task: str, data_dir: str, seed: int, skip: str = "") -> Task:
    """The task of that name.

    Args:
      task: one of TASKS.
      data_dir: file or directory of the data.
      seed: the seed of harmony's data.
      skip: names of handwritten lines to leave out, separated by commas.

    Raises:
      InputError: if the task needs data and `data_dir` is empty, or the data have another format.
    """
    if task == "harmony":
        sequences = harmony(seed)
        steps = len(sequences.train[0].inputs)  # the first chord is any of all
        first = independent_entropy(uniform=True)
        floor = (first + (steps - 1) * independent_entropy()) / steps
        return _music(sequences, {"floor": floor})
    if not data_dir:
        raise InputError(f"--task={task} needs --data_dir=PATH; --task=harmony needs no data.")
    directory = Path(data_dir).expanduser()
    if directory.name == "fsdd.npz":
        directory = directory.parent
    if task == "music":
        return _music(load_piano_rolls(directory), {})
    if task == "handwriting":
        stand_in = (directory / "unipen_train.npz").is_file()
        lines = normalised(
            load_unipen(directory, points_per_second=POINTS)
            if stand_in
            else load_iam_ondb(directory, skip=[name for name in skip.split(",") if name])
        )
        outputs = len(lines.names) + 1
        return Task(lines, outputs, True, ctc, wrong_labels, "wrong labels per label", {})
    stand_in = (directory / "fsdd.npz").is_file()
    speech = normalised(load_fsdd(directory) if stand_in else load_timit(directory))
    return Task(speech, len(speech.names), True, class_loss, wrong_frames, "wrong frames", {})


def _music(sequences: Sequences, levels: dict[str, float]) -> Task:
    levels = {"baseline": independent_notes(sequences)} | levels
    return Task(sequences, NOTES, False, frame_nll, frame_nll_score, "nats per frame", levels)
