"""Batches as pure functions of the step, so that a position in the data is one integer."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from seqjax.errors import InputError, check_positive
from seqjax.types import Array

MOST_TOKENS = 1 << 24  # of one batch; padding alone could fill the memory with more


class Rows(NamedTuple):
    """A token stream cut into B parallel rows, for state that is carried from batch to batch."""

    inputs: np.ndarray | Array  # [B, N] int32
    targets: np.ndarray | Array  # [B, N] int32, the token after each input
    weights: np.ndarray | Array  # [B, N] float32, 0 where a row is padding


class TokenBatch(NamedTuple):
    inputs: Array  # [B, T] int32
    targets: Array  # [B, T] int32
    weights: Array  # [B, T] float32
    first: Array  # [] bool, whether the rows begin here, so that no state is carried in


def training_rows(tokens: np.ndarray, batch_size: int, seq_len: int) -> Rows:
    """Cuts a stream into `batch_size` rows of equal length; what does not fill them is left out.

    Raises:
      InputError: if the stream is shorter than one batch of one sequence, or a batch too large.
    """
    _check_sizes(batch_size, seq_len)
    length = (len(tokens) - 1) // batch_size
    if length < seq_len:
        raise InputError(
            f"the training text has {len(tokens)} tokens, but a batch of {batch_size} sequences"
            f" of {seq_len} needs {batch_size * seq_len + 1}: give more text, or a smaller"
            " batch_size or seq_len."
        )
    length -= length % seq_len
    used = batch_size * length
    return Rows(
        tokens[:used].reshape(batch_size, length).astype(np.int32),
        tokens[1 : used + 1].reshape(batch_size, length).astype(np.int32),
        np.ones((batch_size, length), np.float32),
    )


def _check_sizes(batch_size: int, seq_len: int) -> None:
    check_positive("batch_size", batch_size)
    check_positive("seq_len", seq_len)
    if batch_size * seq_len > MOST_TOKENS:
        raise InputError(
            f"a batch of {batch_size} sequences of {seq_len} has more than {MOST_TOKENS:,} tokens:"
            " give a smaller batch_size or seq_len."
        )


def evaluation_rows(tokens: np.ndarray, batch_size: int, seq_len: int) -> Rows:
    """Cuts a stream into rows that predict every token but the first exactly once.

    The last row is padded; padding has weight 0.

    Raises:
      InputError: if the stream has no token to predict, or a batch is too large.
    """
    _check_sizes(batch_size, seq_len)
    if len(tokens) < 2:
        raise InputError(f"evaluation needs at least 2 tokens, got {len(tokens)}.")
    count = len(tokens) - 1
    length = -(-count // (batch_size * seq_len)) * seq_len
    inputs, targets = np.zeros((2, batch_size * length), np.int32)
    inputs[:count], targets[:count] = tokens[:-1], tokens[1:]
    weights = (np.arange(batch_size * length) < count).astype(np.float32)
    shape = (batch_size, length)
    return Rows(inputs.reshape(shape), targets.reshape(shape), weights.reshape(shape))


def batch_at(rows: Rows, seq_len: int, step: int | Array) -> TokenBatch:
    """The batch of update `step`: window `step` of the rows, from the start again at their end.

    Every row goes on where the last batch left it, so there is nothing to shuffle and no seed:
    the batch depends on the step alone.

    Raises:
      InputError: if the rows are shorter than one sequence.
    """
    if check_positive("seq_len", seq_len) > rows.inputs.shape[1]:
        raise InputError(f"rows of {rows.inputs.shape[1]} tokens hold no sequence of {seq_len}.")
    windows = rows.inputs.shape[1] // seq_len
    window = step % windows
    inputs, targets, weights = (
        lax.dynamic_slice_in_dim(jnp.asarray(a), window * seq_len, seq_len, axis=1) for a in rows
    )
    return TokenBatch(inputs, targets, weights, first=jnp.equal(window, 0))
