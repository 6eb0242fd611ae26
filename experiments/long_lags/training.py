"""One unit of a study: a method on a task of one length, all seeds in one compiled program."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.common.readout import (
    Readout,
    cross_entropy,
    last_outputs,
    squared_errors,
    weighted_mean,
)
from experiments.long_lags.criteria import SUCCESS, Wrong, wrong_classes, wrong_values
from experiments.long_lags.methods import Method, optimizer
from seqjax.recurrence.unroll import unroll
from seqjax.tasks import TASKS, Episode
from seqjax.training import omega
from seqjax.types import Array, Cell

TEST_BATCH = 1000


class Setting(NamedTuple):
    task: str
    length: int
    hidden: int
    batch_size: int
    updates: int  # at most
    check_every: int  # updates between tests
    test_sequences: int
    seeds: int
    threshold: float = SUCCESS  # a seed succeeds when its measure falls below it
    measure: str = "wrong"  # the share of wrong sequences, or "loss"


class Problem(NamedTuple):
    """The answer that a task asks for: classes or one value."""

    input_size: int
    output_size: int
    classes: bool
    wrong: Wrong


# Numbers of classes, where they are not as many as the one-hot inputs.
CLASSES = {
    "temporal_order_2_bit": 4,
    "temporal_order_3_bit": 8,
    "temporal_order_6a": 4,
    "temporal_order_6b": 8,
}


@lru_cache
def problem(task: str, length: int) -> Problem:
    """The sizes and the kind of answer of a task, from the shapes of an episode."""
    episode = jax.eval_shape(lambda key: TASKS[task](key, 1, length), jax.random.key(0))
    inputs = episode.inputs.shape[-1]
    if not jnp.issubdtype(episode.targets.dtype, jnp.integer):
        return Problem(inputs, 1, False, wrong_values)
    return Problem(inputs, CLASSES.get(task, inputs), True, wrong_classes)


def loss_of(readout: Readout, ys: Array, episode: Episode, classes: bool) -> tuple[Array, Array]:
    """The mean loss of what counts, and the answers `[B, C]` or `[T, B, C]`."""
    if episode.targets.ndim == 1:
        ys = last_outputs(ys, episode.lengths)
    answers = readout.answers(ys)
    if classes:
        return cross_entropy(answers, episode.targets, episode.weights), answers
    errors = squared_errors(answers, episode.targets)
    return weighted_mean(errors, episode.weights), answers


def train(setting: Setting, method: Method, key: Array) -> dict[str, Any]:
    """Trains all seeds until each has succeeded once, or the updates are used up.

    A seed succeeds when, on fresh test sequences, its measure falls below the threshold.

    Returns:
      A row of JSON values: for each seed the update at which it first succeeded (null if never) and
      its best measure; and the curve of the measure, a list of seeds for each test.
    """
    keys = jax.random.split(key, setting.seeds)
    cell = method.make(setting.hidden, setting.length)
    start, advance = programs(setting, method, cell)
    carry = start(keys)
    first = np.full(setting.seeds, 0)
    curve: list[list[float]] = []
    for check in range(1, setting.updates // setting.check_every + 1):
        carry, measures = advance(carry, jax.vmap(partial(jax.random.fold_in, data=check))(keys))
        measure = np.asarray(measures[setting.measure], np.float64)
        curve.append(measure.tolist())
        first[(first == 0) & (measure < setting.threshold)] = check * setting.check_every
        if np.all(first > 0) or not np.any(np.isfinite(measure)):
            break
    best = np.nanmin(np.where(np.isfinite(curve), curve, np.inf), axis=0)
    return {
        "task": setting.task,
        "T": setting.length,
        "seeds": setting.seeds,
        "succeeded": int((first > 0).sum()),
        "updates_to_success": [int(n) or None for n in first],
        "best": best.tolist(),
        "check_every": setting.check_every,
        "curve": curve,
    }


def programs(setting: Setting, method: Method, cell: Cell) -> tuple[Callable, Callable]:
    """`start(keys) -> carry` and `advance(carry, keys) -> (carry, measures)`, a row for each seed.

    `advance` trains from one test to the next, and tests.
    """
    task = partial(TASKS[setting.task], length=setting.length)
    asked = problem(setting.task, setting.length)
    rule = optimizer(method)

    def start(key: Array) -> tuple:
        cell_key, readout_key = jax.random.split(key)
        shape = (cell.output_size, asked.output_size)
        weights = method.readout_stddev * jax.random.normal(readout_key, shape)
        params = (
            cell.init(cell_key, asked.input_size),
            Readout(weights, jnp.zeros(asked.output_size)),
        )
        return params, rule.init(params)

    def gradient(params: tuple, episode: Episode) -> tuple:
        def of_states(readout: Readout, ys: Array) -> Array:
            return loss_of(readout, ys, episode, asked.classes)[0]

        if method.omega:
            regularised = omega.value_and_grad(of_states, method.activation, method.omega)
            with_omega = regularised(*params, episode.inputs)
            return with_omega.cell, with_omega.readout

        def loss(params: tuple) -> Array:
            _, ys = unroll(cell, params[0], episode.inputs, lengths=episode.lengths)
            return of_states(params[1], ys)

        return jax.grad(loss)(params)

    def update(carry: tuple, key: Array) -> tuple[tuple, None]:
        params, state = carry
        episode = task(key, setting.batch_size)
        changes, state = rule.update(gradient(params, episode), state)
        return (optax.apply_updates(params, changes), state), None

    def test(params: tuple, key: Array) -> dict[str, Array]:
        episode = task(key, min(TEST_BATCH, setting.test_sequences))
        _, ys = unroll(cell, params[0], episode.inputs, lengths=episode.lengths)
        loss, answers = loss_of(params[1], ys, episode, asked.classes)
        # A diverged network's NaN still have a largest element, which may be right by chance.
        wrong = asked.wrong(answers, episode) | ~jnp.isfinite(loss)
        return {"wrong": wrong.mean(), "loss": loss}

    def advance(carry: tuple, key: Array) -> tuple[tuple, dict[str, Array]]:
        train_key, test_key = jax.random.split(key)
        keys = jax.random.split(train_key, setting.check_every)
        carry, _ = lax.scan(update, carry, keys)
        rounds = max(1, setting.test_sequences // TEST_BATCH)
        tests = lax.map(partial(test, carry[0]), jax.random.split(test_key, rounds))
        return carry, jax.tree.map(jnp.mean, tests)

    # Seeds run one after the other: on a CPU that is faster than one batch of their small products.
    return jax.jit(jax.vmap(start)), jax.jit(
        lambda carry, keys: lax.map(lambda pair: advance(*pair), (carry, keys))
    )
