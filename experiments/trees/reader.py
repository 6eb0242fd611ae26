"""The network beside the tree network: an LSTM that reads a formula as a string with brackets."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from experiments.common.epochs import Lesson
from experiments.trees.batches import shuffled_groups
from experiments.trees.network import Training
from seqjax.cells import CELLS
from seqjax.layers import RNN
from seqjax.recurrence.tree import rounded_up
from seqjax.training.modules import merge_model, split_model
from seqjax.training.step import init_train_state, make_train_step, make_train_steps
from seqjax.types import Array, Params

LENGTHS = 3  # sizes of arrays that strings are read in
READ_AT_ONCE = 100


class Strings(NamedTuple):
    """Formulas as strings, padded at their ends."""

    tokens: Any  # [N, T] int32
    labels: Any  # [N, T] int32, -1 where there is none and in the padding
    ends: Any  # [N] int32, the place of the last token


class Reader(nnx.Module):
    """p(value | string so far) at every token."""

    def __init__(self, vocab_size: int, num_classes: int, hidden_size: int, *, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(vocab_size, hidden_size, rngs=rngs)
        self.lstm = RNN(CELLS["lstm"](hidden_size), hidden_size, rngs=rngs)
        self.head = nnx.Linear(hidden_size, num_classes, rngs=rngs)

    def __call__(self, tokens: Array) -> Array:
        """`tokens [B, T] -> logits [B, T, C]`."""
        return self.head(self.lstm(self.embedding(tokens))[1])


def as_strings(formulas: Sequence[tuple[np.ndarray, np.ndarray]]) -> Strings:
    """Pads tokens and labels of strings to the longest, or a little more."""
    lengths = np.array([len(tokens) for tokens, _ in formulas])
    tokens = np.zeros((len(formulas), rounded_up(int(lengths.max()))), np.int32)
    labels = np.full_like(tokens, -1)
    for row, (string, values) in enumerate(formulas):
        tokens[row, : len(string)], labels[row, : len(string)] = string, values
    return Strings(tokens, labels, (lengths - 1).astype(np.int32))


def make_reader_lesson(
    model: Reader,
    optimizer: optax.GradientTransformation,
    strings_of: Callable[[int], Strings],
    training: Training,
    evaluate: Callable[[Params], dict[str, float]],
) -> Lesson:
    """The lesson of the reader: the mean cross-entropy of all labelled tokens."""
    split = split_model(model)
    steps_per_epoch = -(-training.num_trees // training.batch_size)

    def loss_fn(params: Params, carry: Any, batch: Strings, key: Array) -> tuple[Array, Any]:
        del key
        logits = merge_model(split, params)(batch.tokens)
        known = batch.labels >= 0
        labels = jnp.maximum(batch.labels, 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        loss = jnp.where(known, losses, 0).sum() / known.sum()
        return loss, (carry, {"loss": loss})

    def batch_at(data: tuple[Strings, Array], step: Array) -> Strings:
        strings, order = data
        start = step % steps_per_epoch * training.batch_size
        places = start + jnp.arange(training.batch_size)
        rows = order[places % len(order)]  # the first rows of the epoch fill up its last batch
        return jax.tree.map(lambda a: a[rows], strings)

    def data_of(epoch: int) -> tuple[Strings, np.ndarray]:
        sizes = training.num_trees, training.batch_size
        groups = shuffled_groups(*sizes, seed=training.seed, epoch=epoch)
        return jax.device_put(strings_of(epoch)), np.concatenate(groups).astype(np.int32)

    steps = make_train_steps(make_train_step(loss_fn, optimizer, training.seed), batch_at)
    state = init_train_state(split.params, optimizer)
    return Lesson(state, steps, data_of, steps_per_epoch, training.epochs, evaluate)


def make_answers(
    model: Reader, formulas: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Callable[[Params], np.ndarray]:
    """Builds `answers(params) -> probabilities [N, C]`, as read off the last token of each string."""
    split = split_model(model)
    order = np.argsort([len(tokens) for tokens, _ in formulas], kind="stable")
    parts = [part for part in np.array_split(order, LENGTHS) if len(part)]
    prepared = [as_strings([formulas[i] for i in part]) for part in parts]

    @jax.jit
    def values_of(params: Params, strings: Strings) -> Array:
        def last(row: tuple) -> Array:
            tokens, end = row
            return jax.nn.softmax(merge_model(split, params)(tokens[None])[0, end])

        return lax.map(last, (strings.tokens, strings.ends), batch_size=READ_AT_ONCE)

    def answers(params: Params) -> np.ndarray:
        values = [np.asarray(values_of(params, strings)) for strings in prepared]
        return np.concatenate(values)[np.argsort(order)]

    return answers
