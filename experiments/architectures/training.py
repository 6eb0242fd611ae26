"""Training of one cell on one task at many settings, as one population.

The protocol of Jozefowicz, Zaremba and Sutskever (2015): inputs embedded to the size of the state, one
or more layers, plain gradient descent on the mean loss of a window of 35 steps and 20 rows, the state
carried from window to window, gradients clipped by their norm. After 3 epochs without a better
validation accuracy the rate is halved at each of four epochs, after which training ends. Scores are
next-step accuracies.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.architectures.jobs import Job, Setting
from experiments.architectures.networks import Network, Shape, make_network, units_that_fit
from experiments.architectures.tasks import Task, Windows, load
from experiments.common.readout import cross_entropy
from seqjax import init
from seqjax.devices.mesh import batch_mesh
from seqjax.search.population import fill_up, init_population, is_running, make_round
from seqjax.types import Array, Params

PATIENCE, HALVINGS = 3, 4  # epochs


class Schedule(NamedTuple):
    """A network's progress, from which its learning rate follows."""

    best: Array  # the best validation accuracy so far
    stale: Array  # epochs since then
    halvings: Array  # how often the rate was halved


class Member(NamedTuple):
    params: Params
    schedule: Schedule


class EpochData(NamedTuple):
    train: Windows
    held_out: Windows


def prepare(job: Job) -> tuple[Task, int]:
    """The data of a job, and how many units its networks have.

    Raises:
      InputError: if the text is missing, or the parameters do not suffice for one unit.
    """
    task = load(job.task, job.sizes, job.max_digits, job.data)
    return task, units_that_fit(job.network, job.layers, task.vocabulary, job.parameters)


def evaluate(job: Job, devices: int = 1) -> dict[str, Any]:
    """Trains and tests a network at every setting; the result depends on nothing but the job.

    Args:
      job: the network, the task and the settings.
      devices: how many devices share the settings; no more than there are of either.

    Returns:
      JSON values: `units`, and for each setting `valid` and `test`, the accuracies at the epoch of
      the best validation (0 where the first epoch diverged), and `curve`, the validation accuracy
      of every epoch.

    Raises:
      InputError: as `prepare`.
    """
    task, units = prepare(job)
    shape = Shape(job.network, job.layers, units, task.vocabulary, task.carried)
    devices = min(devices, len(job.settings), jax.local_device_count())
    members = fill_up(first_members(shape, job.settings, job.seed), devices)
    hyper = {
        name: fill_up(jnp.array([getattr(s, name) for s in job.settings], jnp.float32), devices)
        for name in ("rate", "max_norm")
    }
    round_ = compiled_round(shape, job.max_epochs, devices)
    population = init_population(members, pick=lambda _: (), count=len(job.settings))
    scores = []
    while is_running(population):
        data = EpochData(task.epoch(int(population.step)), task.held_out)
        population, metrics = round_(population, hyper, data)
        scores.append(jax.device_get((metrics["valid"], metrics["test"])))
    valid, test = np.moveaxis(np.array(scores, np.float64), 0, -1)  # each [P, epochs]
    epochs = np.asarray(population.trials.rounds)
    return {
        "units": units,
        "settings": [
            _best(valid[i, : epochs[i]], test[i, : epochs[i]]) for i in range(len(job.settings))
        ],
    }


def _best(valid: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    best = int(np.argmax(valid))
    return {"valid": float(valid[best]), "test": float(test[best]), "curve": valid.tolist()}


def first_members(shape: Shape, settings: Sequence[Setting], seed: int) -> Member:
    """The networks before their first epoch, leaves `[P, ...]`."""
    each = []
    for i, setting in enumerate(settings):
        network = make_network(shape, init.uniform(setting.scale * shape.units**-0.5))
        key = jax.random.fold_in(jax.random.key(seed), i)
        zero = jnp.zeros((), jnp.int32)
        each.append(Member(network.init(key), Schedule(jnp.float32(-1), zero, zero)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


@lru_cache(maxsize=4)  # a cell that is tried again soon is not compiled again
def compiled_round(shape: Shape, max_epochs: int, devices: int) -> Callable:
    return make_round(
        make_advance(make_network(shape, init.zeros), shape.carried),
        pick=lambda _: (),
        patience=PATIENCE + HALVINGS,
        max_rounds=max_epochs,
        mesh=batch_mesh(devices) if devices > 1 else None,
    )


def make_advance(network: Network, carried: bool) -> Callable:
    """Builds one epoch of one network: an update for each window, then the two accuracies."""

    def advance(member: Member, hyper: dict[str, Array], data: EpochData) -> tuple:
        rate = hyper["rate"] * factor_of(member.schedule)

        def update(carry: tuple, window: Windows) -> tuple[tuple, None]:
            params, state = carry

            def loss(params: Params) -> tuple[Array, Any]:
                after, logits = network.outputs(params, state, window.inputs)
                return loss_of(logits, window), after

            grads, after = jax.grad(loss, has_aux=True)(params)
            scale = rate * jnp.minimum(1, hyper["max_norm"] / optax.tree.norm(grads))
            params = jax.tree.map(lambda p, g: p - scale * g, params, grads)
            return (params, after if carried else state), None

        rows = data.train.inputs.shape[-1]
        carry = (member.params, network.initial_state((rows,)))
        (params, _), _ = lax.scan(update, carry, data.train)
        valid, test = accuracies(network, carried, params, data.held_out)
        finite = jnp.isfinite(optax.tree.norm(params))
        loss = jnp.where(finite, -valid, jnp.nan)
        schedule = next_schedule(member.schedule, valid)
        return Member(params, schedule), loss, {"valid": valid, "test": test}

    return advance


def next_schedule(schedule: Schedule, valid: Array) -> Schedule:
    """The schedule after an epoch: once the rate has been halved, it is halved at every epoch."""
    better = valid > schedule.best
    stale = jnp.where(better, 0, schedule.stale + 1)
    halve = (schedule.halvings > 0) | (stale >= PATIENCE)
    return Schedule(jnp.maximum(valid, schedule.best), stale, schedule.halvings + halve)


def factor_of(schedule: Schedule) -> Array:
    """The factor on the learning rate; 0 when training has ended."""
    halvings = schedule.halvings
    return jnp.where(halvings <= HALVINGS, 0.5 ** halvings.astype(jnp.float32), 0.0)


def loss_of(logits: Array, window: Windows) -> Array:
    """The mean cross-entropy of the answers that count."""
    return cross_entropy(logits, window.targets, window.weights)


def accuracies(network: Network, carried: bool, params: Params, held_out: Windows) -> Array:
    """`[2]`: accuracies of validation, the first half of the rows, and of the test.

    Logits that are not finite are wrong answers.
    """
    start = network.initial_state((held_out.inputs.shape[-1],))

    def count(state: Any, window: Windows) -> tuple[Any, Array]:
        after, logits = network.outputs(params, state, window.inputs)
        right = (logits.argmax(axis=-1) == window.targets) & jnp.isfinite(logits).all(axis=-1)
        counts = jnp.stack([right * window.weights, window.weights]).sum(axis=1)  # [2, rows]
        return (after if carried else state), counts.reshape(2, 2, -1).sum(axis=-1)

    _, counts = lax.scan(count, start, held_out)
    right, asked = counts.sum(axis=0)
    return right / jnp.maximum(asked, 1)  # (a window may ask for nothing)
