"""Experiments 4 and 6a of Hochreiter and Schmidhuber (1997): one sequence at a time."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.common.readout import Readout, last_outputs
from experiments.long_lags.cells import lstm_1997
from experiments.long_lags.criteria import Wrong, stopping_point, wrong_number, wrong_outputs
from seqjax import init
from seqjax.recurrence.unroll import unroll
from seqjax.tasks import TASKS, Episode
from seqjax.types import Array, Params

CHUNK = 5000  # sequences after which the stopping rule is applied
TEST = 2560  # sequences, as in experiment 4


class Experiment(NamedTuple):
    task: str
    length: int
    outputs: int
    input_gate_bias: tuple[float, ...]
    learning_rate: float
    mean_below: float  # the largest mean error at which the stopping rule holds
    wrong: Wrong
    published: int  # sequences until the rule held
    output: Callable[[Array], Array]  # the output units' activation


class Weights(NamedTuple):
    cell: Params
    readout: Readout


def linear(x: Array) -> Array:
    """The identity."""
    return x


ADDING = Experiment(
    "adding_hs97", 100, 1, (-3.0, -6.0), 0.5, 0.01, wrong_number, 74_000, jax.nn.sigmoid
)
EXPERIMENTS = {
    "4": ADDING,
    "4, linear output": ADDING._replace(output=linear),
    "6a": Experiment(
        "temporal_order_6a", 100, 4, (-2.0, -4.0), 0.5, 0.1, wrong_outputs, 31_390, jax.nn.sigmoid
    ),
}


def number_of_weights(name: str) -> int:
    """The number of weights and biases: 93 in experiment 4 and 156 in 6a, as in the paper."""
    start, _, _ = programs(EXPERIMENTS[name])
    params = jax.eval_shape(start, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def programs(experiment: Experiment) -> tuple[Callable, Callable, Callable]:
    """Three functions of one network.

    `start(key) -> params`; `advance(params, key, stop) -> (params, (errors, wrong))` shows a chunk of
    sequences and learns from the first `stop` of them; `test(params, key)` counts wrong ones.
    """
    gate_bias = jnp.array(experiment.input_gate_bias)
    draw = init.uniform(0.1)
    cell = lstm_1997(len(gate_bias), 2, gate_bias)
    task = partial(TASKS[experiment.task], length=experiment.length)
    inputs = jax.eval_shape(lambda key: task(key, 1), jax.random.key(0)).inputs.shape[-1]

    def start(key: Array) -> Weights:
        cell_key, w_key, b_key = jax.random.split(key, 3)
        shape = (cell.output_size, experiment.outputs)
        readout = Readout(draw(w_key, shape), draw(b_key, shape[1:]))
        return Weights(cell.init(cell_key, inputs), readout)

    def answer(params: Weights, episode: Episode) -> Array:
        _, ys = unroll(cell, params.cell, episode.inputs, lengths=episode.lengths)
        return experiment.output(params.readout.answers(last_outputs(ys, episode.lengths)))

    def errors(answers: Array, episode: Episode) -> Array:
        targets = episode.targets
        if jnp.issubdtype(targets.dtype, jnp.integer):
            return answers - jax.nn.one_hot(targets, experiment.outputs)
        return answers - targets[:, None]

    def update(params: Weights, inputs: tuple[Array, Array]) -> tuple[Weights, tuple]:
        key, rate = inputs
        episode = task(key, 1)

        def loss(params: Weights) -> tuple[Array, Array]:
            answers = answer(params, episode)
            return jnp.sum(errors(answers, episode) ** 2) / 2, answers

        grads, answers = jax.grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
        error = jnp.abs(errors(answers, episode)).mean()
        return params, (error, experiment.wrong(answers, episode)[0])

    def advance(params: Weights, key: Array, stop: Array) -> tuple[Weights, tuple]:
        rates = jnp.where(jnp.arange(CHUNK) < stop, experiment.learning_rate, 0.0)
        return lax.scan(update, params, (jax.random.split(key, CHUNK), rates))

    def test(params: Weights, key: Array) -> Array:
        episode = task(key, TEST)
        return experiment.wrong(answer(params, episode), episode).sum()

    return start, advance, test


def train(name: str, seeds: int, most: int, key: Array) -> dict[str, Any]:
    """Trains every seed until its stopping rule holds, or it has seen `most` sequences.

    Returns:
      A row: for each seed the sequences until the rule held (null if never), the longest run of
      right ones until then, and how many of 2560 fresh ones were wrong in the end; and the curve of the
      share of wrong sequences, a list of seeds for each chunk, NaN after a seed's stop.
    """
    experiment = EXPERIMENTS[name]
    start, advance, test = (jax.jit(jax.vmap(f)) for f in programs(experiment))
    keys = jax.random.split(key, seeds)
    params = start(keys)
    errors, wrong = np.zeros((seeds, 0)), np.zeros((seeds, 0), bool)
    stops: list[int | None] = [None] * seeds
    for chunk in range(most // CHUNK):
        now = jax.vmap(partial(jax.random.fold_in, data=chunk))(keys)
        left = np.array([CHUNK if n is None else 0 for n in stops])
        after, seen = advance(params, now, left)
        errors, wrong = (
            np.concatenate([a, b], axis=1) for a, b in zip((errors, wrong), seen, strict=True)
        )
        points = [
            stopping_point(e, w, experiment.mean_below) for e, w in zip(errors, wrong, strict=True)
        ]
        stopped_now = [n is None and m is not None for n, m in zip(stops, points, strict=True)]
        if any(stopped_now):  # the same chunk again, learning only as far as the rule allows
            for seed in np.flatnonzero(stopped_now):
                stops[seed] = points[seed]
                left[seed] = (points[seed] or 0) - chunk * CHUNK
            after, _ = advance(params, now, left)
        params = after
        if None not in stops:
            break
    # What a seed answers after its stop, learning no more, is not of its training.
    seen = np.arange(wrong.shape[1]) < np.array(
        [[wrong.shape[1] if n is None else n] for n in stops]
    )
    in_chunks = [(a & seen).reshape(seeds, -1, CHUNK).sum(-1) for a in (wrong, seen)]
    share = np.where(in_chunks[1] > 0, in_chunks[0] / np.maximum(in_chunks[1], 1), np.nan)
    test_keys = jax.vmap(partial(jax.random.fold_in, data=most))(keys)
    return {
        "experiment": name,
        "seeds": seeds,
        "weights": number_of_weights(name),
        "sequences": stops,
        "longest_right": [longest_run(~w[: n or None]) for w, n in zip(wrong, stops, strict=True)],
        "test_wrong": np.asarray(test(params, test_keys)).tolist(),
        "most": wrong.shape[1],
        "chunk": CHUNK,
        "curve": share.T.tolist(),
    }


def longest_run(right: np.ndarray) -> int:
    """The most true values in a row."""
    breaks = np.flatnonzero(np.concatenate([[True], ~right, [True]]))
    return int(np.diff(breaks).max()) - 1
