"""Continual embedded Reber: an endless stream, an LSTM with a forget gate and one without."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.common.readout import Readout
from experiments.long_lags.cells import lstm_2000
from seqjax import init, lstm
from seqjax.recurrence.unroll import unroll
from seqjax.tasks import continual_reber
from seqjax.tasks.reber import ALPHABET, outer, successors
from seqjax.types import Array, Cell

HIDDEN = 12
LEARNING_RATE = 0.01
CLIP = 5.0
CHUNK = 72  # symbols between updates, about six strings
STAGES = 10  # tests of a network, evenly spaced
MOST = 50.0  # bound on |c| between chunks, so that the network without a forget gate stays finite
TEST = 720  # symbols, about sixty strings
PUBLISHED = {"forget gate": 0.997, "no forget gate": 0.55}


def cells() -> dict[str, Cell]:
    """The two networks: biases -1 for input and output gates and 1 for the forget gate."""
    small = init.normal(0.2 / (len(ALPHABET) + HIDDEN) ** 0.5)

    def bias(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        del key
        return jnp.broadcast_to(jnp.array([-1.0, 1.0, 0.0, -1.0], dtype)[:, None], shape)

    cell = lstm(HIDDEN, kernel_init=small, recurrent_init=small, bias_init=bias)
    return {
        "forget gate": lstm_2000(cell, forget_gate=True),
        "no forget gate": lstm_2000(cell, forget_gate=False),
    }


class Scores(NamedTuple):
    """What a test on a fresh stream measures."""

    outer: Array  # share of the second outer symbols that are predicted
    legal: Array  # share of the predictions that the grammar allows
    cell_norm: Array  # ‖c‖ at the end of the stream


def train(name: str, seeds: int, updates: int, key: Array) -> dict[str, Any]:
    """Trains on one stream for each seed, the state carried on, and tests on a fresh one.

    Returns:
      A row: for each seed the final scores; and the curve of the outer symbols predicted, ten
      points.
    """
    cell = cells()[name]
    per_stage = max(1, updates // STAGES)
    one = partial(train_one, cell, per_stage)
    scores = jax.jit(lambda keys: lax.map(one, keys))(jax.random.split(key, seeds))
    outer_share, legal, norm = jax.device_get(tuple(scores))  # each [seeds, STAGES]
    return {
        "network": name,
        "seeds": seeds,
        "updates": STAGES * per_stage,
        "outer": outer_share[:, -1].tolist(),
        "legal": legal[:, -1].tolist(),
        "cell_norm": norm[:, -1].tolist(),
        "per_stage": per_stage,
        "curve": outer_share.T.tolist(),
    }


def train_one(cell: Cell, per_stage: int, key: Array) -> Scores:
    """Trains one network in STAGES stages of `per_stage` updates; its scores after each."""
    cell_key, readout_key, stream_key, test_key = jax.random.split(key, 4)
    shape = (HIDDEN, len(ALPHABET))
    weights = 0.2 / HIDDEN**0.5 * jax.random.normal(readout_key, shape)
    params = (cell.init(cell_key, len(ALPHABET)), Readout(weights, jnp.zeros(len(ALPHABET))))
    stream = continual_reber(stream_key, 1, STAGES * per_stage * CHUNK)
    chunks = jax.tree.map(
        lambda a: a.reshape(STAGES, per_stage, CHUNK, *a.shape[1:]),
        (stream.inputs, stream.targets),
    )
    rule = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(LEARNING_RATE))

    def stage(carry: tuple, chunks: tuple) -> tuple[tuple, Scores]:
        carry, _ = lax.scan(partial(update, cell, rule), carry, chunks)
        return carry, test(cell, carry[0], test_key)

    start = (params, rule.init(params), cell.initial_state((1,)))
    return lax.scan(stage, start, chunks)[1]


def update(
    cell: Cell, rule: optax.GradientTransformation, carry: tuple, chunk: tuple
) -> tuple[tuple, None]:
    """One update from one chunk `[CHUNK, 1, ...]` of the stream."""
    params, opt_state, state = carry
    inputs, targets = chunk

    def loss(params: tuple) -> tuple[Array, Any]:
        after, ys = unroll(cell, params[0], inputs, state)
        scores = params[1].answers(ys)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, targets)
        return losses.sum(), after  # a sum over the chunk, for which the norm CLIP is meant

    grads, state = jax.grad(loss, has_aux=True)(params)
    state = state._replace(c=jnp.clip(state.c, -MOST, MOST))
    changes, opt_state = rule.update(grads, opt_state)
    return (optax.apply_updates(params, changes), opt_state, state), None


def test(cell: Cell, params: tuple, key: Array) -> Scores:
    """The scores on a fresh stream, from the initial state."""
    episode = continual_reber(key, 1, TEST)
    last, ys = unroll(cell, params[0], episode.inputs)
    guess = params[1].answers(ys).argmax(-1)
    allowed = successors(episode.inputs.argmax(-1))
    legal = jnp.take_along_axis(allowed, guess[..., None], axis=-1)
    due = outer(allowed)
    predicted = jnp.sum((guess == episode.targets) & due) / due.sum()
    return Scores(predicted, legal.mean(), jnp.linalg.norm(last.c))
