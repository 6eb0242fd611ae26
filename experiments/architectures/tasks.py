"""The tasks: sums, nested tags, words, and the string that a new cell must recall."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import tasks
from seqjax.data import build_vocabulary, load_text
from seqjax.errors import InputError
from seqjax.types import Array

STREAMS = ("arithmetic", "xml")
WORDS = "words"
RECALL = "memorisation"
TASKS = (*STREAMS, WORDS, RECALL)
VOCABULARY = 10_000  # words, as in the Penn Treebank
RECALL_LAG = 1  # blanks between the string and the answer


class Windows(NamedTuple):
    """N windows of T steps of B rows; in a stream, each window starts where the last one ended.

    Leaves are arrays of JAX or of NumPy.
    """

    inputs: Any  # [N, T, B] int32
    targets: Any  # [N, T, B] int32
    weights: Any  # [N, T, B] float32, 1 where an answer counts


class Sizes(NamedTuple):
    """How much data an epoch has."""

    batch_size: int
    window: int  # steps that a gradient is propagated back through
    updates: int  # windows in an epoch
    held_out: int  # windows for validation, and as many for the test


class Task(NamedTuple):
    vocabulary: int
    carried: bool  # whether the state goes on from window to window
    epoch: Callable[[int], Windows]  # by its number
    held_out: Windows  # [N, T, 2 B]: rows of validation, then rows of the test


@lru_cache
def load(name: str, sizes: Sizes, max_digits: int, data: str) -> Task:
    """The task of that name, one of TASKS; its data do not depend on the network.

    Args:
      name: name of the task.
      sizes: how much data an epoch has.
      max_digits: the most digits of a number in the sums.
      data: the text for words, as `seqjax.data.load_text` takes it.

    Raises:
      InputError: if the text is missing or too short.
    """
    if name == WORDS:
        return _words(sizes, data)
    draw: Any = tasks.TASKS["memorisation_filter" if name == RECALL else name]
    if name == "arithmetic":
        draw = partial(draw, max_digits=max_digits)
    carried = name != RECALL

    @partial(jax.jit, static_argnums=(1, 2))
    def windows(key: Array, count: int, rows: int) -> Windows:
        if carried:
            episode = draw(key, rows, count * sizes.window)
            return jax.tree.map(lambda a: a.reshape(count, sizes.window, rows), _plain(episode))
        keys = jax.random.split(key, count)
        return jax.vmap(lambda k: _plain(draw(k, rows, RECALL_LAG)))(keys)

    one = jax.eval_shape(lambda key: draw(key, 1, RECALL_LAG), jax.random.key(0))
    train_key, held_out_key = jax.random.split(jax.random.key(0))
    return Task(
        vocabulary=one.inputs.shape[-1],
        carried=carried,
        epoch=lambda number: windows(
            jax.random.fold_in(train_key, number), sizes.updates, sizes.batch_size
        ),
        held_out=windows(held_out_key, sizes.held_out, 2 * sizes.batch_size),
    )


def _plain(episode: tasks.Episode) -> Windows:
    """The episode with the indices of its one-hot inputs."""
    return Windows(episode.inputs.argmax(axis=-1), episode.targets, episode.weights)


def _words(sizes: Sizes, data: str) -> Task:
    splits = load_text(data, validation_fraction=0.05, test_fraction=0.05)
    vocabulary = build_vocabulary("word", splits.train, VOCABULARY)
    train, *held_out = (
        _cut(vocabulary.encode(text).ids, sizes, name)
        for name, text in zip(("training", "validation", "test"), splits, strict=True)
    )
    count = len(train.inputs)

    def epoch(number: int) -> Windows:
        """Windows from where the last epoch ended; the text begins again at its end."""
        places = (number * sizes.updates + np.arange(sizes.updates)) % count
        return jax.tree.map(lambda a: jnp.asarray(a[places]), train)

    def side_by_side(*leaves: np.ndarray) -> Array:
        return jnp.concatenate([_filled(leaf, sizes.held_out) for leaf in leaves], axis=-1)

    return Task(len(vocabulary), True, epoch, jax.tree.map(side_by_side, *held_out))


def _cut(ids: np.ndarray, sizes: Sizes, name: str) -> Windows:
    """Words in `batch_size` parallel rows, cut into windows; the remainder is left out."""
    span = sizes.batch_size * sizes.window
    count = (len(ids) - 1) // span
    if not count:
        raise InputError(
            f"the {name} text has {len(ids)} words; windows of {sizes.window} steps of"
            f" {sizes.batch_size} rows need at least {span + 1}."
        )
    inputs, targets = (
        part[: count * span]
        .reshape(sizes.batch_size, count, sizes.window)
        .transpose(1, 2, 0)
        .astype(np.int32)
        for part in (ids[:-1], ids[1:])
    )
    return Windows(inputs, targets, np.ones(targets.shape, np.float32))


def _filled(leaf: np.ndarray, count: int) -> np.ndarray:
    """The first `count` windows, padded with zeros, which have weight 0, if there are fewer."""
    leaf = leaf[:count]
    return np.concatenate([leaf, np.zeros((count - len(leaf), *leaf.shape[1:]), leaf.dtype)])
