"""The language model: state, dropout, tied weights, and its loss and evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import CELLS, InputError, init, lstm, rnn_linear
from seqjax.data import TokenBatch, evaluation_rows
from seqjax.losses import next_token_losses
from seqjax.models import LanguageModel
from seqjax.training.language_modelling import make_evaluate, make_loss
from seqjax.training.modules import split_model
from tests.support.randomness import randomise
from tests.support.tiers import some_cells

V, B, T = 7, 3, 6


def make_model(cells, seed=0, **kwargs):
    """A model whose every parameter is random, biases too."""
    kwargs = {"embedding_size": 4} | kwargs
    model = LanguageModel(V, cells, rngs=nnx.Rngs(seed), **kwargs)
    graphdef, params, *_ = split_model(model)
    return nnx.merge(graphdef, randomise(params, seed + 1))


def random_state(model, batch_size=B, seed=5):
    return jax.tree.map(jnp.asarray, randomise(model.initial_state(batch_size), seed))


def random_tokens(shape=(B, T), seed=6):
    return jnp.asarray(np.random.default_rng(seed).integers(V, size=shape), jnp.int32)


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def differ(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any(np.any(np.abs(x - y) > 1e-3) for x, y in pairs)


@pytest.mark.parametrize("name", some_cells())
def test_token_by_token_equals_the_whole_sequence(name):
    model = make_model([CELLS[name](5), CELLS[name](3)])
    tokens, state = random_tokens(), random_state(model)
    final_state, logits = model(tokens, state)
    assert logits.shape == (B, T, V)
    step = jax.jit(lambda token, state: model(token, state))
    for t in range(T):
        state, one = step(tokens[:, t : t + 1], state)
        np.testing.assert_allclose(one[:, 0], logits[:, t], rtol=1e-5, atol=1e-5)
    assert_close(state, final_state)


def test_logits_see_the_past_and_not_the_future():
    model, tokens = make_model([lstm(5)]), random_tokens()
    changed = tokens.at[:, 3].set((tokens[:, 3] + 1) % V)
    (_, before), (_, after) = model(tokens), model(changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.all(np.any(before[:, 3:] != after[:, 3:], -1))


def test_equals_its_parts():
    model, tokens = make_model([rnn_linear(5)]), random_tokens()
    params = jax.tree.map(np.asarray, split_model(model)[1])
    (state,), layer = random_state(model), params["layers"][0]["params"]
    h, expected = np.asarray(state.h), []
    for t in range(T):
        x = params["embedding"]["embedding"][tokens[:, t]]
        h = x @ layer["w"] + h @ layer["u"] + layer["b"]
        expected.append(h @ params["head"]["kernel"] + params["head"]["bias"])
    np.testing.assert_allclose(
        model(tokens, (state,))[1], np.stack(expected, 1), rtol=1e-4, atol=1e-5
    )


def test_dropout_needs_a_key():
    model, tokens = make_model([lstm(5)], dropout=0.5), random_tokens()
    plain = make_model([lstm(5)])
    assert_close(model(tokens), plain(tokens))
    keys = jax.random.split(jax.random.key(0))
    first, again, other = (model(tokens, dropout_key=key) for key in (keys[0], keys[0], keys[1]))
    assert_close(first, again)
    assert differ(first, other)
    assert differ(first, plain(tokens))
    assert_close(plain(tokens, dropout_key=keys[0]), plain(tokens))


@pytest.mark.parametrize("place", ["embedding", "between", "head"])
def test_every_upward_connection_is_dropped_and_no_recurrent_one(place):
    """A layer whose input kernel is zero shows its recurrence alone."""
    deaf = rnn_linear(5, kernel_init=jax.nn.initializers.zeros)
    hearing = rnn_linear(5)
    cells = {"embedding": [hearing], "between": [deaf, hearing], "head": [deaf, deaf]}[place]
    model = LanguageModel(V, cells, embedding_size=4, dropout=0.5, rngs=nnx.Rngs(0))
    tokens, state = random_tokens(), random_state(model)
    plain_state, plain_logits = model(tokens, state)
    dropped_state, dropped_logits = model(tokens, state, dropout_key=jax.random.key(1))
    for cell, plain, dropped in zip(cells, plain_state, dropped_state, strict=True):
        if cell is deaf:
            assert_close(plain, dropped)
        else:
            assert differ(plain, dropped)
    assert differ(plain_logits, dropped_logits)


def test_every_step_draws_a_mask_of_its_own():
    """Without inputs and recurrence all steps have the same logits; only the masks differ."""
    zeros = jax.nn.initializers.zeros
    cell = rnn_linear(
        5, kernel_init=zeros, recurrent_init=zeros, bias_init=jax.nn.initializers.ones
    )
    model = LanguageModel(V, [cell], embedding_size=4, dropout=0.5, rngs=nnx.Rngs(0))
    logits = np.asarray(model(random_tokens((4, 8)), dropout_key=jax.random.key(0))[1])
    assert len({row.tobytes() for row in logits.reshape(-1, V)}) > 10  # of 32 masks


@pytest.mark.parametrize("dropout", [0.2, 0.6])
def test_dropout_preserves_the_mean_of_a_linear_model(dropout):
    model = make_model([rnn_linear(4)], dropout=dropout)
    tokens, count = random_tokens((1, 3)), 4000
    keys = jax.random.split(jax.random.key(2), count)
    dropped = jax.jit(jax.vmap(lambda key: model(tokens, dropout_key=key)[1]))
    logits = np.asarray(dropped(keys))
    error = logits.std(0) / np.sqrt(count)
    assert np.all(error > 0)
    assert np.all(np.abs(logits.mean(0) - model(tokens)[1]) < 5 * error)


def test_tied_weights_are_one_array():
    tied = make_model([lstm(6)], embedding_size=6, tie_weights=True)
    free = make_model([lstm(6)], embedding_size=6)
    counts = [sum(p.size for p in jax.tree.leaves(split_model(m)[1])) for m in (tied, free)]
    assert counts[1] - counts[0] == 6 * V
    tokens = random_tokens()
    _, logits = tied(tokens)
    ys = tied.embedding(tokens)
    _, ys = tied.layers[0](ys)
    expected = np.asarray(ys) @ np.asarray(tied.embedding.embedding[...]).T
    np.testing.assert_allclose(logits, expected + tied.head_bias[...], rtol=1e-4, atol=1e-5)


def test_the_initializer_draws_everything_outside_the_cells():
    model = LanguageModel(
        V, [lstm(5)], embedding_size=4, initializer=init.uniform(0.1), rngs=nnx.Rngs(0)
    )
    params = split_model(model).params
    for leaf in (params["embedding"]["embedding"], *params["head"].values()):
        assert 0.05 < np.abs(leaf).max() <= 0.1
        assert len(np.unique(leaf)) == leaf.size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be .* got 0"),
        ({"embedding_size": -1}, "embedding_size must be .* got -1"),
        ({"cells": []}, "at least one cell"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1\.0"),
        ({"dropout": float("nan")}, "dropout must .* got nan"),
        ({"tie_weights": True}, "got 4 and 5"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"vocab_size": V, "cells": [lstm(5)], "embedding_size": 4}
    with pytest.raises(InputError, match=message):
        LanguageModel(**arguments | change, rngs=nnx.Rngs(0))


def batch(first, seed=8):
    tokens = random_tokens((B, T + 1), seed)
    return TokenBatch(tokens[:, :-1], tokens[:, 1:], jnp.ones((B, T)), jnp.asarray(first))


def test_next_token_losses_are_negative_log_softmax():
    logits = np.random.default_rng(9).normal(size=(B, T, V)).astype(np.float32) * 3
    targets = np.asarray(random_tokens())
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(p, targets[..., None], -1)[..., 0])
    np.testing.assert_allclose(next_token_losses(logits, targets), expected, rtol=1e-4)


def test_the_loss_is_the_sum_over_time_and_starts_afresh_at_the_first_batch():
    base = lstm(5)
    ones = base._replace(
        initial_state=lambda shape: jax.tree.map(lambda s: s + 1, base.initial_state(shape))
    )
    model = make_model([ones, ones])
    graphdef, params, *_ = split_model(model)
    loss_fn = jax.jit(make_loss(graphdef))
    carry, key = random_state(model), jax.random.key(0)
    for first, state in ((True, model.initial_state(B)), (False, carry)):
        example = batch(first)
        loss, (new_carry, metrics) = loss_fn(params, carry, example, key)
        expected_state, logits = model(example.inputs, state)
        losses = np.asarray(next_token_losses(logits, example.targets))
        assert float(loss) == pytest.approx(losses.sum(1).mean(), rel=1e-5)
        assert float(metrics["loss"]) == pytest.approx(losses.mean(), rel=1e-5)
        assert_close(new_carry, expected_state)
    assert loss_fn._cache_size() == 1


def test_the_loss_drops_units_by_its_key():
    graphdef, params, *_ = split_model(make_model([lstm(5)], dropout=0.5))
    loss_fn, state = jax.jit(make_loss(graphdef)), random_state(make_model([lstm(5)]))
    losses = [float(loss_fn(params, state, batch(False), jax.random.key(k))[0]) for k in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("size", [2, 13, 25, 26])
def test_evaluation_is_one_long_sequence_in_numpy(size):
    model = make_model([lstm(5), lstm(4)], dropout=0.5)
    graphdef, params, *_ = split_model(model)
    tokens = np.asarray(random_tokens((size,), seed=10))
    actual = make_evaluate(graphdef, 4)(params, evaluation_rows(tokens, 1, 4))
    _, logits = model(jnp.asarray(tokens[None, :-1]))
    logits = np.asarray(logits[0], np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -sum(log_p[t, tokens[t + 1]] for t in range(size - 1)) / (size - 1)
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_evaluation_of_several_rows_weighs_tokens_not_rows():
    model = make_model([lstm(5)])
    graphdef, params, *_ = split_model(model)
    tokens = np.asarray(random_tokens((20,), seed=11))  # 19 predictions in 3 rows of 8
    rows = evaluation_rows(tokens, 3, 4)
    _, logits = model(jnp.asarray(rows.inputs))
    losses = np.asarray(next_token_losses(logits, jnp.asarray(rows.targets)))
    expected = losses[rows.weights == 1].sum() / 19
    assert float(make_evaluate(graphdef, 4)(params, rows)) == pytest.approx(expected, rel=1e-5)
