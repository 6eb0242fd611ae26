"""Training of one network from many initial biases and seeds at once: one compiled program."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.forget_bias.tasks import Task, bias_init, make_cell
from seqjax.recurrence.unroll import unroll
from seqjax.tasks import Episode
from seqjax.types import Array, Cell


class Setting(NamedTuple):
    hidden: int
    batch_size: int
    updates: int
    checks: int  # tests, evenly spaced, the last at the end
    seeds: int
    clip: float  # the largest norm of a gradient
    optimizer: str  # "adam" or "sgd"
    test_size: int  # sequences, or steps of each row of a stream


def train(
    setting: Setting,
    task: Task,
    network: str,
    labels: tuple[str, ...],
    rate: float,
    key: Array,
) -> dict[str, Any]:
    """One unit: a network at one rate from every bias of `labels`, all seeds.

    Returns:
      A row of JSON values, `score` `[labels][seeds]` at the end and `curve` `[checks]` of these:
      accuracy, or the share of the variance that is explained where a number is asked for.
    """
    keys = jax.random.split(key, setting.seeds)
    weight_keys, bias_keys, data_keys, test_keys = jax.vmap(jax.random.split, (0, None), 1)(keys, 4)
    start, advance = programs(setting, task, network)
    draw, draw_tests = sequences(setting, task)
    # Seed k starts from the same weights and reads the same sequences, whatever the bias.
    carry, tests = start(weight_keys), draw_tests(test_keys)
    carry = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(labels), *a.shape)), carry)
    if network == "LSTM":
        carry[0][0]["b"] = first_biases(labels, task.length, setting.hidden, bias_keys)
    curve = []
    for check in range(setting.checks):
        episodes = draw(jax.vmap(partial(jax.random.fold_in, data=check))(data_keys))
        carry, scores = advance(carry, jnp.float32(rate), episodes, tests)
        curve.append(np.asarray(scores, np.float64).tolist())
    return {
        "network": network,
        "labels": list(labels),
        "rate": rate,
        "check_every": setting.updates // setting.checks,
        "score": curve[-1],
        "curve": curve,
    }


def first_biases(labels: tuple[str, ...], length: int, hidden: int, keys: Array) -> Array:
    """`[L, S, 4H]`: an LSTM's biases are initial values and nothing else."""
    return jnp.stack(
        [
            jnp.stack(
                [bias_init(label, length)(k, (4, hidden), jnp.float32).reshape(-1) for k in keys]
            )
            for label in labels
        ]
    )


@lru_cache
def sequences(setting: Setting, task: Task) -> tuple[Callable, Callable]:
    """What is read between two tests, `keys [S] -> leaves [S, updates, ...]`, and the test itself."""
    every, size = setting.updates // setting.checks, setting.batch_size

    def draw(key: Array) -> Episode:
        if not task.carried:
            one = partial(task.draw, batch_size=size, length=task.length)
            return jax.vmap(one)(jax.random.split(key, every))
        # Examples run on from window to window; after each test a new one begins.
        long = task.draw(key, size, every * task.length)
        return jax.tree.map(lambda a: a.reshape(every, -1, *a.shape[1:]), long)

    def draw_test(key: Array) -> Episode:
        return task.draw(
            key, *((size, setting.test_size) if task.carried else (setting.test_size, task.length))
        )

    return jax.jit(jax.vmap(draw)), jax.jit(jax.vmap(draw_test))


@lru_cache
def programs(setting: Setting, task: Task, network: str) -> tuple[Callable, Callable]:
    """The start of a network, and the way of many from test to test.

    Compiled once for all rates: `start(keys) -> carry`, leaves `[S, ...]`, and
    `advance(carry, rate, episodes, tests) -> (carry, scores)`, leaves `[L, S, ...]`.
    """
    rule = optimizer(setting)
    one = jax.eval_shape(lambda key: task.draw(key, 1, task.length), jax.random.key(0))
    limit = setting.hidden**-0.5
    cell = make_cell(network, setting.hidden)

    def start(key: Array) -> tuple:
        cell_key, readout_key = jax.random.split(key)
        shape = (setting.hidden, task.outputs)
        params = (
            cell.init(cell_key, one.inputs.shape[-1]),
            jax.random.uniform(readout_key, shape, minval=-limit, maxval=limit),
            jnp.zeros(task.outputs),
        )
        return params, rule.init(params), cell.initial_state((setting.batch_size,))

    def update(rate: Array, carry: tuple, episode: Episode) -> tuple[tuple, None]:
        params, moments, state = carry
        if not task.carried:
            state = cell.initial_state((setting.batch_size,))

        def loss(params: tuple) -> tuple[Array, Any]:
            state_after, answers = answer(cell, task, params, state, episode)
            return loss_of(task, answers, episode), state_after

        gradient, state = jax.grad(loss, has_aux=True)(params)
        change, moments = rule.update(gradient, moments)
        params = jax.tree.map(lambda p, d: p - rate * d, params, change)
        return (params, moments, state), None

    def advance(rate: Array, carry: tuple, episodes: Episode, test: Episode) -> tuple[tuple, Array]:
        carry, _ = lax.scan(partial(update, rate), carry, episodes)
        return carry, score_of(task, answer(cell, task, carry[0], None, test)[1], test)

    # The seeds of one bias run as a batch where they are small, and one by one where they are not.
    over_seeds = _one_by_one if task.carried else jax.vmap

    @jax.jit
    def advance_all(
        carry: tuple, rate: Array, episodes: Episode, tests: Episode
    ) -> tuple[tuple, Array]:
        seeds = over_seeds(partial(advance, rate))
        return lax.map(lambda one: seeds(one, episodes, tests), carry)

    return jax.jit(jax.vmap(start)), advance_all


def _one_by_one(function: Callable) -> Callable:
    return lambda *arguments: lax.map(lambda one: function(*one), arguments)


def optimizer(setting: Setting) -> optax.GradientTransformation:
    """What an update adds, but for the learning rate and the sign."""
    clip = optax.clip_by_global_norm(setting.clip)
    return optax.chain(clip, optax.scale_by_adam()) if setting.optimizer == "adam" else clip


def answer(
    cell: Cell, task: Task, params: tuple, state: Any, episode: Episode
) -> tuple[Any, Array]:
    """The state at the end, and answers at every step or, where one is asked for, after the last."""
    cell_params, w, b = params
    state, ys = unroll(cell, cell_params, episode.inputs, state)
    return state, (ys if task.every_step else ys[-1]) @ w + b


def loss_of(task: Task, answers: Array, episode: Episode) -> Array:
    """Cross-entropy or squared error, the mean over what counts."""
    if task.variance:
        return jnp.mean((answers[..., 0] - episode.targets) ** 2)
    losses = optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)
    return jnp.sum(losses * episode.weights) / jnp.maximum(jnp.sum(episode.weights), 1)


def score_of(task: Task, answers: Array, episode: Episode) -> Array:
    """Accuracy over what counts; of numbers the share of the variance that is explained, or 0."""
    if task.variance:
        score = jnp.maximum(1 - loss_of(task, answers, episode) / task.variance, 0.0)
    else:
        right = (answers.argmax(axis=-1) == episode.targets) * episode.weights
        score = jnp.sum(right) / jnp.sum(episode.weights)
    # A network of NaN answers something all the same: it knows nothing.
    return jnp.where(jnp.all(jnp.isfinite(answers)), score, 0.0)
