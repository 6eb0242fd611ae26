"""Training of several networks of a kind, one after the other in one compiled program."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.common.sequential_images import Split, Splits
from experiments.pixels.networks import Layer
from experiments.pixels.tasks import Task, key_of
from seqjax import init as initializers
from seqjax.devices.mesh import batch_mesh
from seqjax.losses import next_token_losses
from seqjax.search.population import fill_up, init_population, make_round
from seqjax.training.step import TrainState, init_train_state, make_train_step
from seqjax.types import Array, Params

TEST_BATCH = 500


class Way(NamedTuple):
    """How long and how fast."""

    epochs: int
    steps_per_epoch: int  # where sequences are drawn; images: all of them
    batch_size: int
    learning_rate: float


class Kept(NamedTuple):
    """What of a member is kept at its best epoch."""

    params: Params
    statistics: Any


def trained(
    layer: Layer, task: Task, way: Way, seeds: np.ndarray, devices: int = 1
) -> dict[str, Any]:
    """The rows of networks by seed: loss and accuracy on the test set, at the best epoch on the held-out set.

    They are NaN of a network that diverged before its first epoch was over.
    """
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(way.learning_rate))
    count = len(seeds)
    members = fill_up(jnp.asarray(seeds, jnp.int32), devices)
    states = jax.jit(jax.vmap(partial(first_state, layer, task, optimizer)))(members)
    population = init_population(states, pick=kept, count=count)
    advance = one_epoch if task.splits else one_round
    how: dict[str, Any] = {"pick": kept, "patience": way.epochs, "max_rounds": way.epochs}
    how["mesh"] = batch_mesh(devices) if devices > 1 else None
    round_ = make_round(partial(advance, layer, task, way, optimizer), **how)
    curve = []
    for _ in range(way.epochs):
        population, metrics = round_(population, members, task.splits)
        curve.append(np.asarray(metrics["loss"])[:count].tolist())
    trials, members = jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a)[:count]), (population.trials, members)
    )
    measured = jax.jit(partial(tested, layer, task, way))(trials.best, members, task.splits)
    loss, accuracy = (jnp.where(trials.best_round > 0, x, jnp.nan) for x in measured)
    return {
        "seed": seeds.tolist(),
        "loss": np.asarray(loss).tolist(),
        "accuracy": np.asarray(accuracy).tolist(),
        "epoch": np.asarray(trials.best_round).tolist(),
        "curve": curve,
        "parameters": sum(int(np.prod(a.shape[1:])) for a in jax.tree.leaves(trials.best.params)),
    }


def kept(state: TrainState) -> Kept:
    return Kept(state.params, state.carry)


def first_state(
    layer: Layer, task: Task, optimizer: optax.GradientTransformation, seed: Array
) -> TrainState:
    layer_key, head_key = jax.random.split(jax.random.key(seed))
    params, statistics = layer.init(layer_key)
    shape = (layer.output_size, task.classes)
    head = initializers.lecun_normal()(head_key, shape)
    params = {"layer": params, "head": head, "bias": jnp.zeros(task.classes)}
    return init_train_state(params, optimizer, statistics)


def logits_of(
    layer: Layer, task: Task, params: Params, statistics: Any, xs: Array, key: Array | None
) -> tuple[Array, Any]:
    """`[B, C]` after the last step of an image, `[B, T, C]` of a string; and the new statistics."""
    ys, statistics = layer.run(params["layer"], statistics, xs, key)
    if task.splits:
        ys = ys[:, -1]
    return ys @ params["head"] + params["bias"], statistics


def make_step(layer: Layer, task: Task, optimizer: Any, seed: Array) -> Any:
    def loss_fn(params: Params, statistics: Any, batch: tuple, key: Array) -> tuple:
        xs, labels = batch
        logits, statistics = logits_of(layer, task, params, statistics, xs, key)
        loss = next_token_losses(logits, labels).mean()
        return loss, (statistics, {"loss": loss})

    return make_train_step(loss_fn, optimizer, seed)


def one_epoch(
    layer: Layer,
    task: Task,
    way: Way,
    optimizer: Any,
    state: TrainState,
    seed: Array,
    splits: Splits,
) -> tuple[TrainState, Array, dict[str, Array]]:
    """Every training image once, in an order of its own; then the loss on the held-out images."""
    step = make_step(layer, task, optimizer, seed)
    count = len(splits.train.labels) // way.batch_size
    order = jax.random.permutation(
        key_of(seed, state.step // count), jnp.arange(len(splits.train.labels))
    )

    def body(i: Array, carry: tuple) -> tuple:
        state, total = carry
        rows = lax.dynamic_slice_in_dim(order, i * way.batch_size, way.batch_size)
        batch = splits.train.xs[rows], splits.train.labels[rows]
        state, metrics, _ = step(state, batch)
        return state, total + metrics["loss"]

    state, total = lax.fori_loop(0, count, body, (state, jnp.zeros(())))
    loss, _ = on_images(layer, task, kept(state), splits.validation)
    return state, loss, {"loss": total / count}


def one_round(
    layer: Layer, task: Task, way: Way, optimizer: Any, state: TrainState, seed: Array, splits: None
) -> tuple[TrainState, Array, dict[str, Array]]:
    """Updates on new strings; then the loss on others."""
    del splits
    step = make_step(layer, task, optimizer, seed)
    assert task.draw is not None
    draw = task.draw

    def body(_: Array, carry: tuple) -> tuple:
        state, total = carry
        xs, labels, _ = draw(key_of(seed, state.step), way.batch_size)
        state, metrics, _ = step(state, (xs, labels))
        return state, total + metrics["loss"]

    state, total = lax.fori_loop(0, way.steps_per_epoch, body, (state, jnp.zeros(())))
    loss, _ = on_strings(layer, task, way, kept(state), seed)
    return state, loss, {"loss": total / way.steps_per_epoch}


def tested(
    layer: Layer, task: Task, way: Way, best: Kept, seeds: Array, splits: Splits | None
) -> tuple[Array, Array]:
    """Loss and accuracy of every member, `[P]` each."""

    def one(member: tuple[Kept, Array]) -> tuple[Array, Array]:
        if splits is None:
            return on_strings(layer, task, way, member[0], member[1] + 1)
        return on_images(layer, task, member[0], splits.test)

    return lax.map(one, (best, seeds))


def on_images(layer: Layer, task: Task, best: Kept, split: Split) -> tuple[Array, Array]:
    """Mean loss and accuracy, in batches of TEST_BATCH."""
    count = len(split.labels)
    size = min(TEST_BATCH, count)
    places = jnp.arange(-(-count // size) * size).reshape(-1, size)

    def batch(rows: Array) -> tuple[Array, Array]:
        there = rows < count
        rows = jnp.minimum(rows, count - 1)
        logits, _ = logits_of(layer, task, *best, split.xs[rows], None)
        losses = next_token_losses(logits, split.labels[rows])
        right = logits.argmax(-1) == split.labels[rows]
        return jnp.where(there, losses, 0).sum(), jnp.where(there, right, False).sum()

    loss, right = lax.map(batch, places)
    return loss.sum() / count, right.sum() / count


def on_strings(layer: Layer, task: Task, way: Way, best: Kept, seed: Array) -> tuple[Array, Array]:
    """Mean loss over all steps, and accuracy over the ten that are asked for, on new strings."""
    assert task.draw is not None
    xs, labels, _ = task.draw(jax.random.fold_in(jax.random.key(seed), 2**31 - 1), 200)
    logits, _ = logits_of(layer, task, *best, xs, None)
    asked = labels > 0
    right = (logits.argmax(-1) == labels) & asked
    return next_token_losses(logits, labels).mean(), right.sum() / asked.sum()
