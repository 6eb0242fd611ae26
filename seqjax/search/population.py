"""A population: the same training run for many settings at once, in one compiled program.

A member is trained by rounds (an epoch and its validation, say) until it stops: because its
validation loss has not fallen for a while, because it had all its rounds, or because it diverged.
A member that has stopped keeps its best parameters, and no member influences another.

Members are mapped one after the other, in groups that run as one batch, and shared between the local
devices. (A `vmap` over all of them is slower than a loop except for very small networks: it makes many
small products, and its weight gradients are a stack that fits no cache.) A group whose members have all
stopped costs nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.errors import InputError, check_positive
from seqjax.types import Array

Member = Any  # a pytree that training changes: parameters, optimizer state, step ...
Hyper = Any  # a pytree that differs between members and stays: learning rate, key ...
Advance = Callable[[Member, Hyper, Any], tuple[Member, Array, dict[str, Array]]]

RUNNING, NO_PROGRESS, ALL_ROUNDS, DIVERGED = range(4)
STATUS = ("running", "no progress", "all rounds", "diverged")


class Trials(NamedTuple):
    """The progress of each of P members; every leaf is `[P, ...]`."""

    member: Member
    best: Any  # what `pick` took from the member at its best round
    best_loss: Array  # float32, infinite before the first round
    best_round: Array  # int32, counted from 1
    rounds: Array  # int32, rounds that are done
    status: Array  # int32, an index into STATUS


class Population(NamedTuple):
    """The whole state of the training, as a checkpoint must hold it."""

    step: Array  # [] int32, rounds of the population
    trials: Trials


def fill_up(tree: Any, multiple: int) -> Any:
    """Leaves `[P, ...]`, filled up with copies of the first member until P is a multiple of `multiple`."""
    missing = -_size(tree) % multiple
    return jax.tree.map(lambda a: jnp.concatenate([a, *[a[:1]] * missing]), tree)


def init_population(
    members: Member, *, pick: Callable[[Member], Any], count: int | None = None
) -> Population:
    """The population before its first round.

    Args:
      members: leaves `[P, ...]`, P a multiple of group x devices (`fill_up`).
      pick: the part of a member that is kept at its best round: its parameters, say.
      count: how many members are trained; those after them only fill up, and have stopped.
    """
    size = _size(members)
    if count is not None and not 0 <= count <= size:
        raise InputError(f"count must be at most the {size} members that there are, got {count}.")
    zeros = jnp.zeros(size, jnp.int32)
    filler = jnp.arange(size) >= (size if count is None else count)
    trials = Trials(
        member=members,
        best=jax.vmap(pick)(members),
        best_loss=jnp.full(size, jnp.inf, jnp.float32),
        best_round=zeros,
        rounds=zeros,
        status=jnp.where(filler, ALL_ROUNDS, RUNNING).astype(jnp.int32),
    )
    return Population(jnp.zeros((), jnp.int32), trials)


class Rules(NamedTuple):
    """When a member stops, and what of it is kept."""

    pick: Callable[[Member], Any]
    patience: int
    max_rounds: int


Metrics = dict[str, Array]  # leaves [P]


def make_round(
    advance: Advance,
    *,
    pick: Callable[[Member], Any],
    patience: int,
    max_rounds: int,
    group: int = 1,
    mesh: Mesh | None = None,
) -> Callable[[Population, Hyper, Any], tuple[Population, Metrics]]:
    """Builds `round(population, hyper, data) -> (population, metrics [P])`, jitted.

    Args:
      advance: `(member, hyper, data) -> (member, validation loss, metrics)`, one round of one
        member. A validation loss that is not finite is a divergence: the member stays as it was.
      pick: as in `init_population`.
      patience: rounds without a lower validation loss after which a member stops.
      max_rounds: rounds after which it stops in any case.
      group: members that run as one batch.
      mesh: devices that share the members; one device if None.

    The metrics of a member that had stopped before the round are NaN, or 0 where they are integers.

    Raises:
      InputError: if a number is not positive; and, at the first call, if P is no multiple of
        group x devices.
    """
    for name, value in (("patience", patience), ("max_rounds", max_rounds), ("group", group)):
        check_positive(name, value)
    one_trial = partial(advance_trial, advance, Rules(pick, patience, max_rounds))
    all_trials = partial(advance_groups, one_trial, group)
    compiled = jax.jit(partial(advance_population, on_devices(all_trials, mesh)))
    multiple = group * (1 if mesh is None else mesh.size)

    def round_(population: Population, hyper: Hyper, data: Any) -> tuple[Population, Metrics]:
        size = _size(population.trials)
        if size % multiple:
            raise InputError(
                f"a population of {size} cannot be split into groups of {group} on"
                f" {multiple // group} devices: fill it up to a multiple of {multiple}."
            )
        if any(jnp.shape(leaf)[:1] != (size,) for leaf in jax.tree.leaves(hyper)):
            raise InputError(
                f"hyper must have one entry for each of {size} members, got the shapes"
                f" {[jnp.shape(leaf) for leaf in jax.tree.leaves(hyper)]}: fill it up as the members."
            )
        if mesh is not None:
            population, hyper = _placed(population, hyper, mesh)
        return compiled(population, hyper, data)

    return round_


def advance_trial(
    advance: Advance, rules: Rules, old: Trials, hyper: Hyper, data: Any
) -> tuple[Trials, Metrics]:
    """One round of one member, leaves `[...]`; one that has stopped stays as it is."""
    member, loss, metrics = advance(old.member, hyper, data)
    loss = loss.astype(jnp.float32)  # as the best one is kept, or an equal one could seem lower
    finite = jnp.isfinite(loss)
    better = finite & (loss < old.best_loss)
    rounds = old.rounds + 1
    best_round = jnp.where(better, rounds, old.best_round)
    status = jnp.where(rounds >= rules.max_rounds, ALL_ROUNDS, RUNNING)
    status = jnp.where(rounds - best_round >= rules.patience, NO_PROGRESS, status)
    new = Trials(
        member=_where(finite, member, old.member),
        best=_where(better, rules.pick(member), old.best),
        best_loss=jnp.where(better, loss, old.best_loss),
        best_round=best_round,
        rounds=rounds,
        status=jnp.where(finite, status, DIVERGED).astype(jnp.int32),
    )
    running = old.status == RUNNING
    metrics = _where(running, metrics, jax.tree.map(_nothing, metrics))
    return _where(running, new, old), metrics


def advance_groups(
    one_trial: Callable[[Trials, Hyper, Any], tuple[Trials, Metrics]],
    group: int,
    trials: Trials,
    hyper: Hyper,
    data: Any,
) -> tuple[Trials, Metrics]:
    """One round of all members, group by group; groups without a running member are passed over."""

    def run(trials: Trials, hyper: Hyper) -> tuple[Trials, Metrics]:
        return jax.vmap(one_trial, (0, 0, None))(trials, hyper, data)

    def run_or_rest(group: tuple[Trials, Hyper]) -> tuple[Trials, Metrics]:
        trials, hyper = group
        shapes = jax.eval_shape(run, trials, hyper)[1]
        nothing = jax.tree.map(_nothing, shapes)
        running = jnp.any(trials.status == RUNNING)
        return lax.cond(running, run, lambda trials, _: (trials, nothing), trials, hyper)

    count = trials.status.shape[0] // group
    split = partial(jax.tree.map, lambda a: a.reshape(count, group, *a.shape[1:]))
    join = partial(jax.tree.map, lambda a: a.reshape(count * group, *a.shape[2:]))
    return join(lax.map(run_or_rest, split((trials, hyper))))


def on_devices(all_trials: Callable, mesh: Mesh | None) -> Callable:
    """The same function of (trials, hyper, data), with the members split over the mesh."""
    if mesh is None:
        return all_trials
    members, same = PartitionSpec(mesh.axis_names[0]), PartitionSpec()
    return jax.shard_map(
        all_trials,
        mesh=mesh,
        in_specs=(members, members, same),
        out_specs=members,
        check_vma=False,
    )


def advance_population(
    all_trials: Callable, population: Population, hyper: Hyper, data: Any
) -> tuple[Population, Metrics]:
    """One round of the population."""
    trials, metrics = all_trials(population.trials, hyper, data)
    return Population(population.step + 1, trials), metrics


def _placed(population: Population, hyper: Hyper, mesh: Mesh) -> tuple[Population, Hyper]:
    """Both as a round returns them, so that the second round is not compiled again."""
    same = NamedSharding(mesh, PartitionSpec())
    shared = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    placed = Population(*jax.device_put(tuple(population), (same, shared)))
    return placed, jax.device_put(hyper, shared)


def is_running(population: Population) -> bool:
    """Whether any member has not stopped yet."""
    return bool(jnp.any(population.trials.status == RUNNING))


def _nothing(metric: Any) -> Array:
    """What stands in the place of a metric that was not measured."""
    floating = jnp.issubdtype(metric.dtype, jnp.inexact)
    return jnp.full(metric.shape, jnp.nan if floating else 0, metric.dtype)


def _where(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _size(tree: Any) -> int:
    leaves = jax.tree.leaves(tree)
    if not leaves:
        raise InputError("a population needs members, arrays [P, ...], got none.")
    return leaves[0].shape[0]
