"""Training of one network of the search, and of a population of them."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh

from experiments.lstm_variants.tasks import Task
from seqjax import CELLS, init
from seqjax.data.buckets import Bucket, Buckets, bucketed
from seqjax.recurrence.bidirectional import bidirectional
from seqjax.recurrence.unroll import unroll
from seqjax.search.population import (
    RUNNING,
    STATUS,
    Population,
    fill_up,
    init_population,
    is_running,
    make_round,
)
from seqjax.search.sizes import hidden_mask, masked
from seqjax.types import Array, Cell, Params

STD = 0.1  # standard deviation of all initial weights


class Trial(NamedTuple):
    """The hyperparameters that the search draws for one network."""

    hidden_size: int
    learning_rate: float
    momentum: float
    noise: float  # standard deviation of the noise that training adds to the inputs


class Plan(NamedTuple):
    """How every trial is trained."""

    seed: int  # for the order of the sequences
    patience: int  # epochs without a better validation score after which a trial stops
    max_epochs: int  # epochs after which it stops in any case
    mesh: Mesh | None  # devices that share the trials
    group: int = 0  # trials that run as one batch; 0 for what `group_of` says


class Chunk(NamedTuple):
    """Trials of one variant that are trained side by side."""

    variant: str  # a name in CELLS
    trials: Sequence[Trial]
    keys: Array  # [P], for initial weights and noise

    @property
    def size(self) -> int:
        """Hidden units of the arrays: the most of any trial, rounded up to a multiple of 8."""
        return -(-max(trial.hidden_size for trial in self.trials) // 8) * 8


class Network(NamedTuple):
    """The networks of one program: a cell of `size` units, of which a trial uses the first ones."""

    init: Callable[[Array, int], Params]  # (key, units of the arrays) -> parameters
    outputs: Callable[[Params, Array, Array], Array]  # (params, xs [T, D], length) -> [T, V]
    size: int


class Data(NamedTuple):
    """The data of one round."""

    train: tuple[Bucket, ...]
    order: Array  # [N, 2] int32, bucket and row
    valid: Buckets
    round: Array  # [] int32


def make_network(variant: str, task: Task, size: int) -> Network:
    """One layer of the variant, or one in each direction, and a linear layer over it."""
    normal = init.normal(STD)
    inputs = task.sequences.train[0].inputs.shape[1]

    def cell(units: int) -> Cell:
        return CELLS[variant](
            units,
            kernel_init=normal,
            recurrent_init=normal,
            bias_init=normal,
            peephole_init=normal,
        )

    ways = 2 if task.both_ways else 1

    def init_params(key: Array, units: int) -> Params:
        keys = jax.random.split(key, ways + 2)
        head = {
            "w": jnp.concatenate(
                [normal(k, (units, task.outputs)) for k in jax.random.split(keys[-1], ways)]
            ),
            "b": normal(keys[-2], (task.outputs,)),
        }
        return {"cells": [cell(units).init(k, inputs) for k in keys[:ways]], "head": head}

    def outputs(params: Params, xs: Array, length: Array) -> Array:
        if task.both_ways:
            pair = (cell(size), cell(size))
            _, ys = bidirectional(pair, tuple(params["cells"]), xs, lengths=length)
        else:  # padding needs no care: it stands after all outputs that count
            _, ys = unroll(cell(size), params["cells"][0], xs)
        return ys @ params["head"]["w"] + params["head"]["b"]

    return Network(init_params, outputs, size)


def begin(chunk: Chunk, task: Task, plan: Plan) -> tuple[Population, dict[str, Array]]:
    """The population before its first epoch, filled up to whole groups, and its hyperparameters."""
    network = make_network(chunk.variant, task, chunk.size)
    sizes, rates, momenta, noises = zip(*chunk.trials, strict=True)
    hyper = {
        "hidden_size": jnp.array(sizes),
        "learning_rate": jnp.array(rates, jnp.float32),
        "momentum": jnp.array(momenta, jnp.float32),
        "noise": jnp.array(noises, jnp.float32),
        "key": chunk.keys,
    }

    # Drawn one by one: XLA takes seconds to compile so many random draws as one program.
    each = [network.init(jax.random.fold_in(key, 0), network.size) for key in chunk.keys]
    unmasked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    @jax.jit
    @jax.vmap
    def start(params: Params, hyper: dict[str, Array]) -> tuple[Params, optax.OptState]:
        params = masked(params, network_mask(network, hyper["hidden_size"]))
        return params, optimizer_of(hyper).init(params)

    members = start(unmasked, hyper)
    multiple = group_of(chunk, plan) * (1 if plan.mesh is None else plan.mesh.size)
    count = len(chunk.trials)
    population = init_population(fill_up(members, multiple), pick=_params, count=count)
    return population, fill_up(hyper, multiple)


def network_mask(network: Network, hidden_size: Array) -> Params:
    """The mask of a network's parameters that keeps its first `hidden_size` units."""
    return hidden_mask(partial(network.init, jax.random.key(0)), network.size, hidden_size)


def optimizer_of(hyper: dict[str, Array]) -> optax.GradientTransformation:
    """Descent with Nesterov's momentum, the rate scaled by 1 - momentum as published."""
    momentum = hyper["momentum"]
    return optax.sgd(hyper["learning_rate"] * (1 - momentum), momentum, nesterov=True)


def make_advance(network: Network, task: Task) -> Callable:
    """Builds one epoch of one member: an update for each sequence, then the validation."""

    def sequence_loss(
        params: Params, bucket: Bucket, row: Array, noise: Array, key: Array
    ) -> Array:
        sequence = jax.tree.map(lambda a: a[row], bucket)
        xs = sequence.inputs.astype(jnp.float32)
        xs += noise * jax.random.normal(key, xs.shape)
        logits = network.outputs(params, xs, sequence.lengths)
        return task.loss(logits, sequence.targets, sequence.lengths, sequence.target_lengths)

    def advance(member: Any, hyper: dict[str, Array], data: Data) -> tuple[Any, Array, dict]:
        mask = network_mask(network, hyper["hidden_size"])
        optimizer = optimizer_of(hyper)
        key = jax.random.fold_in(jax.random.fold_in(hyper["key"], 1), data.round)

        def update(member: Any, inputs: tuple[Array, Array]) -> tuple[Any, None]:
            params, opt_state = member
            (bucket, row), count = inputs
            branches = [
                lambda *args, b=b: jax.grad(sequence_loss)(args[0], b, *args[1:])
                for b in data.train
            ]
            sequence_key = jax.random.fold_in(key, count)
            grads = lax.switch(bucket, branches, params, row, hyper["noise"], sequence_key)
            updates, opt_state = optimizer.update(masked(grads, mask), opt_state)
            return (optax.apply_updates(params, updates), opt_state), None

        member, _ = lax.scan(update, member, (data.order, jnp.arange(len(data.order))))
        amount, weight = scores(network, task, member[0], data.valid)
        return member, amount.sum() / weight.sum(), {}

    return advance


def scores(network: Network, task: Task, params: Params, split: Buckets) -> tuple[Array, Array]:
    """`(amounts [N], weights [N])` of the sequences of a split, bucket by bucket."""

    def of_bucket(bucket: Bucket) -> tuple[Array, Array]:
        def of_one(one: Bucket) -> tuple[Array, Array]:
            logits = network.outputs(params, one.inputs.astype(jnp.float32), one.lengths)
            amount, weight = task.score(logits, one.targets, one.lengths, one.target_lengths)
            # Counts of errors are finite even where the logits are not.
            return jnp.where(jnp.isfinite(logits).all(), amount, jnp.nan), weight

        return jax.vmap(of_one)(bucket)

    by_bucket = [of_bucket(bucket) for bucket in split.buckets]
    amounts, weights = (jnp.concatenate(x) for x in zip(*by_bucket, strict=True))
    return amounts.astype(jnp.float32), weights.astype(jnp.float32)


def order_of(seed: int, round: int, train: Buckets) -> np.ndarray:
    """The order of the sequences in an epoch, a pure function of the seed and the round."""
    return np.random.default_rng((seed, round)).permutation(train.places)


def group_of(chunk: Chunk, plan: Plan) -> int:
    """How many members run as one batch: the products of a small one do not fill a processor."""
    if plan.group:
        return plan.group
    fitting = 8 if chunk.size <= 32 else 4 if chunk.size <= 64 else 2 if chunk.size <= 128 else 1
    devices = 1 if plan.mesh is None else plan.mesh.size
    return min(fitting, -(-len(chunk.trials) // devices))


def train(
    chunk: Chunk,
    task: Task,
    plan: Plan,
    population: Population,
    hyper: dict[str, Array],
    after_epoch: Callable[[Population], None],
) -> tuple[Population, float]:
    """Trains the trials of a chunk until all have stopped.

    Args:
      chunk: the trials.
      task: the data, the loss and the score.
      plan: when trials stop, and on which devices they run.
      population: from `begin`, or a saved one.
      hyper: from `begin`.
      after_epoch: is called after every epoch; it may raise.

    Returns:
      The population, and the seconds for an epoch of one trial (NaN after a single epoch, which is
      mostly compilation).
    """
    epoch = make_round(
        make_advance(make_network(chunk.variant, task, chunk.size), task),
        pick=_params,
        patience=plan.patience,
        max_rounds=plan.max_epochs,
        group=group_of(chunk, plan),
        mesh=plan.mesh,
    )
    places = bucketed(task.sequences.train)
    train_set: Buckets
    valid: Buckets
    train_set, valid = jax.device_put((places, bucketed(task.sequences.valid)))
    seconds, epochs, compiled = 0.0, 0, False
    while is_running(population):
        start, number = time.monotonic(), int(population.step)
        running = int((population.trials.status == RUNNING).sum())
        order = jnp.asarray(order_of(plan.seed, number, places))
        data = Data(train_set.buckets, order, valid, jnp.asarray(number))
        population, _ = jax.block_until_ready(epoch(population, hyper, data))
        if compiled:  # the first epoch is mostly compilation
            seconds, epochs = seconds + time.monotonic() - start, epochs + running
        compiled = True
        after_epoch(population)
    return population, seconds / epochs if epochs else math.nan


def report(chunk: Chunk, task: Task, population: Population) -> list[dict[str, Any]]:
    """A row for each trial: its hyperparameters, its end, and the test scores of its best epoch."""
    network = make_network(chunk.variant, task, chunk.size)

    @jax.jit
    def tested(best: Params, test: Buckets) -> tuple[Array, Array]:
        return lax.map(lambda params: scores(network, task, params, test), best)

    test = jax.device_put(bucketed(task.sequences.test))
    amounts, weights = jax.device_get(tested(population.trials.best, test))
    trials = jax.device_get(population.trials)
    rows = []
    for i, trial in enumerate(chunk.trials):
        learned = math.isfinite(trials.best_loss[i])
        rows.append(
            {
                "variant": chunk.variant,
                **trial._asdict(),
                "parameters": count_parameters(network, trial.hidden_size),
                "epochs": int(trials.rounds[i]),
                "best_epoch": int(trials.best_round[i]),
                "end": STATUS[trials.status[i]],
                "valid": float(trials.best_loss[i]),
                "test": float(amounts[i].sum() / weights[i].sum()) if learned else math.inf,
                "test_by_piece": float((amounts[i] / weights[i]).mean()) if learned else math.inf,
            }
        )
    return rows


def count_parameters(network: Network, hidden_size: int) -> int:
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), hidden_size))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _params(member: Any) -> Params:
    return member[0]
