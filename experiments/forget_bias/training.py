"""Training of one network from many initial biases and seeds at once: one compiled program."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.common.readout import Readout, accuracy, cross_entropy, squared_errors
from experiments.forget_bias.schedule import after_check, begin
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
    patience: int = 0  # checks without a better score after which the rate is halved; 0: constant


def train(
    setting: Setting,
    task: Task,
    network: str,
    labels: tuple[str, ...],
    rate: float,
    key: Array,
) -> dict[str, Any]:
    """Trains one network at one learning rate from every bias of `labels`, with all seeds.

    Returns:
      A row of JSON values: `score` `[labels][seeds]` at the end and `curve`
      `[checks][labels][seeds]`. A score is an accuracy or, where the answer is a number, the share
      of its variance that is explained. `updates` `[labels][seeds]` were made before the rate was 0.
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
    judged = [tests]
    if setting.patience:  # what decides about the rate is not what is reported
        held_out = jax.vmap(partial(jax.random.fold_in, data=setting.checks))(data_keys)
        judged.append(draw_tests(held_out))
    every = setting.updates // setting.checks
    schedule = begin(rate, (len(labels), setting.seeds))
    curve, updates = [], np.zeros(schedule.rate.shape, int)
    for check in range(setting.checks):
        updates += every * (schedule.rate > 0)
        episodes = draw(jax.vmap(partial(jax.random.fold_in, data=check))(data_keys))
        carry, scores = advance(carry, jnp.asarray(schedule.rate), episodes, judged)
        curve.append(np.asarray(scores[0], np.float64).tolist())
        schedule = after_check(schedule, np.asarray(scores[-1]), setting.patience)
        if not np.any(schedule.rate):
            break
    return {
        "network": network,
        "labels": list(labels),
        "rate": rate,
        "check_every": every,
        "updates": updates.tolist(),
        "score": curve[-1],
        "curve": curve,
    }


def first_biases(labels: tuple[str, ...], length: int, hidden: int, keys: Array) -> Array:
    """The biases an LSTM starts with, `[L, S, 4H]` for L labels and S seeds."""
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
    """Two functions of keys `[S]`: the training data between two tests, and the test data.

    Leaves are `[S, updates, ...]` and `[S, ...]`.
    """
    every, size = setting.updates // setting.checks, setting.batch_size

    def draw(key: Array) -> Episode:
        if not task.carried:
            one = partial(task.draw, batch_size=size, length=task.length)
            return jax.vmap(one)(jax.random.split(key, every))
        # One stream, cut into windows; after each test a new stream begins.
        long = task.draw(key, size, every * task.length)
        return jax.tree.map(lambda a: a.reshape(every, -1, *a.shape[1:]), long)

    def draw_test(key: Array) -> Episode:
        return task.draw(
            key, *((size, setting.test_size) if task.carried else (setting.test_size, task.length))
        )

    return jax.jit(jax.vmap(draw)), jax.jit(jax.vmap(draw_test))


@lru_cache
def programs(setting: Setting, task: Task, network: str) -> tuple[Callable, Callable]:
    """Two compiled programs, the same for all learning rates.

    `start(keys) -> carry` makes networks, leaves `[S, ...]`; `advance(carry, rate [L, S], episodes, tests) ->
    (carry, scores)` trains them from one check to the next, leaves `[L, S, ...]`: scores `[L, S]` for each of tests.
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
            Readout(
                jax.random.uniform(readout_key, shape, minval=-limit, maxval=limit),
                jnp.zeros(task.outputs),
            ),
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
        # Where training is over, whatever the gradient is, NaN included.
        params = jax.tree.map(lambda p, d: jnp.where(rate > 0, p - rate * d, p), params, change)
        return (params, moments, state), None

    def advance(
        rate: Array, carry: tuple, episodes: Episode, tests: list[Episode]
    ) -> tuple[tuple, list[Array]]:
        carry, _ = lax.scan(partial(update, rate), carry, episodes)
        answered = [answer(cell, task, carry[0], None, test)[1] for test in tests]
        return carry, list(map(partial(score_of, task), answered, tests))

    # Small networks, the toys', train their seeds as one batch; larger ones are faster one by one.
    over_seeds = _one_by_one if task.carried else jax.vmap

    @jax.jit
    def advance_all(
        carry: tuple, rate: Array, episodes: Episode, tests: list[Episode]
    ) -> tuple[tuple, list[Array]]:
        seeds: Callable = over_seeds(advance)
        return lax.map(lambda one: seeds(*one, episodes, tests), (rate, carry))

    return jax.jit(jax.vmap(start)), advance_all


def _one_by_one(function: Callable) -> Callable:
    return lambda *arguments: lax.map(lambda one: function(*one), arguments)


def optimizer(setting: Setting) -> optax.GradientTransformation:
    """The update before it is scaled by the learning rate and subtracted."""
    clip = optax.clip_by_global_norm(setting.clip)
    return optax.chain(clip, optax.scale_by_adam()) if setting.optimizer == "adam" else clip


def answer(
    cell: Cell, task: Task, params: tuple, state: Any, episode: Episode
) -> tuple[Any, Array]:
    """The final state, and the answers at every step or, if the task asks for one, after the last."""
    cell_params, readout = params
    state, ys = unroll(cell, cell_params, episode.inputs, state)
    return state, readout.answers(ys if task.every_step else ys[-1])


def loss_of(task: Task, answers: Array, episode: Episode) -> Array:
    """The mean squared error or, of classes, the mean cross-entropy of what counts."""
    if task.variance:
        return jnp.mean(squared_errors(answers, episode.targets))
    return cross_entropy(answers, episode.targets, episode.weights)


def score_of(task: Task, answers: Array, episode: Episode) -> Array:
    """The accuracy or, of numbers, the share of the variance that is explained, at least 0."""
    if task.variance:
        score = jnp.maximum(1 - loss_of(task, answers, episode) / task.variance, 0.0)
    else:
        score = accuracy(answers, episode.targets, episode.weights)
    # A diverged network's NaN still have a largest element, which may be right by chance.
    return jnp.where(jnp.all(jnp.isfinite(answers)), score, 0.0)
