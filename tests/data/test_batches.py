"""Batches: what is predicted, how rows go on from batch to batch, and what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.data import batch_at, evaluation_rows, training_rows
from seqjax.errors import InputError


def stream(size, seed=0):
    """Token ids that are all different, in random order, so that each shows its position."""
    return np.random.default_rng(seed).permutation(size).astype(np.int32) + 7


SIZES = [(2, 1, 1), (50, 4, 5), (41, 4, 5), (42, 4, 5), (60, 7, 3), (5, 8, 6), (30, 1, 4)]


@pytest.mark.parametrize(("size", "batch_size", "seq_len"), SIZES)
def test_evaluation_predicts_every_token_but_the_first_once(size, batch_size, seq_len):
    tokens = stream(size)
    rows = evaluation_rows(tokens, batch_size, seq_len)
    assert rows.inputs.shape == rows.targets.shape == rows.weights.shape
    assert rows.inputs.shape[0] == batch_size
    assert rows.inputs.shape[1] % seq_len == 0
    assert set(np.unique(rows.weights)) <= {0, 1}
    real = rows.weights == 1
    np.testing.assert_array_equal(rows.targets[real], tokens[1:])
    np.testing.assert_array_equal(rows.inputs[real], tokens[:-1])
    assert rows.inputs.size - (size - 1) < batch_size * seq_len


@pytest.mark.parametrize(
    ("size", "batch_size", "seq_len", "length"),
    [(50, 4, 5, 10), (41, 4, 5, 10), (40, 4, 5, 5), (21, 4, 5, 5), (60, 7, 3, 6), (30, 1, 4, 28)],
)
def test_training_rows_are_equal_pieces_of_the_stream(size, batch_size, seq_len, length):
    tokens = stream(size)
    rows = training_rows(tokens, batch_size, seq_len)
    assert rows.inputs.shape == (batch_size, length)
    for row in range(batch_size):
        piece = tokens[row * length : (row + 1) * length + 1]
        np.testing.assert_array_equal(rows.inputs[row], piece[:-1])
        np.testing.assert_array_equal(rows.targets[row], piece[1:])
    np.testing.assert_array_equal(rows.weights, np.ones((batch_size, length)))


def test_batches_continue_each_row_and_wrap_around():
    rows = training_rows(stream(100), 3, 4)
    windows = rows.inputs.shape[1] // 4
    batches = [batch_at(rows, 4, step) for step in range(windows)]
    for name in ("inputs", "targets", "weights"):
        joined = np.concatenate([getattr(batch, name) for batch in batches], axis=1)
        np.testing.assert_array_equal(joined, getattr(rows, name))
    for a, b in itertools.pairwise(batches):
        np.testing.assert_array_equal(b.inputs[:, 0], a.targets[:, -1])
    assert [bool(batch.first) for batch in batches] == [True] + [False] * (windows - 1)
    again = batch_at(rows, 4, 5 * windows + 2)
    np.testing.assert_array_equal(again.inputs, batches[2].inputs)
    assert bool(batch_at(rows, 4, 3 * windows).first)


def test_padding_has_no_weight_in_a_batch():
    rows = evaluation_rows(stream(12), 2, 4)  # 11 predictions in 16 places
    weights = np.concatenate([batch_at(rows, 4, step).weights for step in range(2)], axis=1)
    np.testing.assert_array_equal(weights, [[1] * 8, [1, 1, 1, 0, 0, 0, 0, 0]])


def test_a_batch_depends_on_the_step_alone():
    rows = training_rows(stream(200), 4, 5)
    compiled = jax.jit(lambda rows, step: batch_at(rows, 5, step))
    for step in np.random.default_rng(1).permutation(25):
        actual, expected = compiled(rows, jnp.int32(step)), batch_at(rows, 5, int(step))
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize(("size", "batch_size", "seq_len"), [(20, 4, 5), (0, 1, 1), (1, 1, 1)])
def test_too_short_a_text_is_refused(size, batch_size, seq_len):
    needed = batch_size * seq_len + 1
    with pytest.raises(InputError, match=rf"has {size} tokens.* needs {needed}: give more text"):
        training_rows(stream(size), batch_size, seq_len)
    assert training_rows(stream(needed), batch_size, seq_len).inputs.shape == (batch_size, seq_len)


@pytest.mark.parametrize("size", [0, 1])
def test_nothing_to_evaluate_is_refused(size):
    with pytest.raises(InputError, match=f"at least 2 tokens, got {size}"):
        evaluation_rows(stream(size), 2, 3)


@pytest.mark.parametrize("cut", [training_rows, evaluation_rows])
@pytest.mark.parametrize("value", [0, -2, 1.5])
def test_bad_sizes_are_refused(cut, value):
    with pytest.raises(InputError, match=f"batch_size must be .* got {value}"):
        cut(stream(50), value, 2)
    with pytest.raises(InputError, match=f"seq_len must be .* got {value}"):
        cut(stream(50), 2, value)
