"""A population: the same training run for many settings at once, in one compiled program.

A member is trained by rounds (an epoch and its validation, say) until it stops: because its
validation loss has not fallen for a while, because it had all its rounds, or because it diverged.
A member that has stopped keeps its best parameters, and what happens to one never touches another.

Members are mapped one after the other, in groups that run as one batch, and shared between the local
devices. (A `vmap` over all of them is slower than a loop but for the smallest: its products are small
ones side by side, and its weight gradients a stack that no cache holds.) A group whose members have
all stopped costs nothing.
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

Member = Any  # what training changes: parameters, optimizer state, step ...
Hyper = Any  # what differs between members and stays: learning rate, key ...
Advance = Callable[[Member, Hyper, Any], tuple[Member, Array, dict[str, Array]]]

RUNNING, NO_PROGRESS, ALL_ROUNDS, DIVERGED = range(4)
STATUS = ("running", "no progress", "all rounds", "diverged")


class Trials(NamedTuple):
    """How far each of P members is; every leaf is `[P, ...]`."""

    member: Member
    best: Any  # what `pick` took of a member at its best round
    best_loss: Array  # float32, infinite before the first round
    best_round: Array  # int32, from 1
    rounds: Array  # int32, done
    status: Array  # int32, an index into STATUS


class Population(NamedTuple):
    """All that a checkpoint must hold."""

    step: Array  # [] int32, rounds of the population
    trials: Trials


def fill_up(tree: Any, multiple: int) -> Any:
    """Leaves `[P, ...]` with copies of the first member up to a multiple of groups x devices."""
    missing = -_size(tree) % multiple
    return jax.tree.map(lambda a: jnp.concatenate([a, *[a[:1]] * missing]), tree)


def init_population(
    members: Member, *, pick: Callable[[Member], Any], count: int | None = None
) -> Population:
    """The population before its first round.

    Args:
      members: leaves `[P, ...]`, P a multiple of group x devices (`fill_up`).
      pick: what of one member is kept at its best round; its parameters, say.
      count: the members after so many only fill up: they have stopped.
    """
    size = _size(members)
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


def make_round(
    advance: Advance,
    *,
    pick: Callable[[Member], Any],
    patience: int,
    max_rounds: int,
    group: int = 1,
    mesh: Mesh | None = None,
) -> Callable[[Population, Hyper, Any], tuple[Population, dict[str, Array]]]:
    """Builds `round(population, hyper, data) -> (population, metrics [P])`, jitted.

    Args:
      advance: `(member, hyper, data) -> (member, validation loss, metrics)`, one round of one
        member. A validation loss that is not finite is a divergence: the member stays as it was.
      pick: as in `init_population`.
      patience: rounds without a lower validation loss after which a member stops.
      max_rounds: rounds after which it stops in any case.
      group: members that run as one batch.
      mesh: devices that share the members; one if None.

    Metrics of a group that has stopped are zero.

    Raises:
      InputError: if a number is not positive; at the first call, if P is no multiple of
        group x devices.
    """
    for name, value in (("patience", patience), ("max_rounds", max_rounds), ("group", group)):
        check_positive(name, value)
    devices = 1 if mesh is None else mesh.size

    def one_trial(old: Trials, hyper: Hyper, data: Any) -> tuple[Trials, dict[str, Array]]:
        member, loss, metrics = advance(old.member, hyper, data)
        good = jnp.isfinite(loss)
        better = good & (loss < old.best_loss)
        rounds = old.rounds + 1
        best_round = jnp.where(better, rounds, old.best_round)
        status = jnp.where(rounds >= max_rounds, ALL_ROUNDS, RUNNING)
        status = jnp.where(rounds - best_round >= patience, NO_PROGRESS, status)
        new = Trials(
            member=_where(good, member, old.member),
            best=_where(better, pick(member), old.best),
            best_loss=jnp.where(better, loss, old.best_loss).astype(jnp.float32),
            best_round=best_round,
            rounds=rounds,
            status=jnp.where(good, status, DIVERGED).astype(jnp.int32),
        )
        return _where(old.status == RUNNING, new, old), metrics

    def all_trials(trials: Trials, hyper: Hyper, data: Any) -> tuple[Trials, dict[str, Array]]:
        def run(trials: Trials, hyper: Hyper) -> tuple[Trials, dict[str, Array]]:
            return jax.vmap(one_trial, (0, 0, None))(trials, hyper, data)

        def run_or_rest(inputs: tuple[Trials, Hyper]) -> tuple[Trials, dict[str, Array]]:
            trials, hyper = inputs
            shapes = jax.eval_shape(run, trials, hyper)[1]
            zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
            running = jnp.any(trials.status == RUNNING)
            return lax.cond(running, run, lambda trials, _: (trials, zeros), trials, hyper)

        count = trials.status.shape[0] // group
        split = partial(jax.tree.map, lambda a: a.reshape(count, group, *a.shape[1:]))
        join = partial(jax.tree.map, lambda a: a.reshape(count * group, *a.shape[2:]))
        return join(lax.map(run_or_rest, split((trials, hyper))))

    if mesh is not None:
        members, same = PartitionSpec(mesh.axis_names[0]), PartitionSpec()
        all_trials = jax.shard_map(
            all_trials,
            mesh=mesh,
            in_specs=(members, members, same),
            out_specs=members,
            check_vma=False,
        )

    @jax.jit
    def compiled(
        population: Population, hyper: Hyper, data: Any
    ) -> tuple[Population, dict[str, Array]]:
        trials, metrics = all_trials(population.trials, hyper, data)
        return Population(population.step + 1, trials), metrics

    def round_(
        population: Population, hyper: Hyper, data: Any
    ) -> tuple[Population, dict[str, Array]]:
        size = _size(population.trials)
        if size % (group * devices):
            raise InputError(
                f"a population of {size} cannot be split into groups of {group} on {devices}"
                " devices: fill it up to a multiple."
            )
        if mesh is not None:  # as it comes back, or the second round would compile again
            whole = NamedSharding(mesh, PartitionSpec())
            shared = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
            population, hyper = (
                Population(*jax.device_put(tuple(population), (whole, shared))),
                jax.device_put(hyper, shared),
            )
        return compiled(population, hyper, data)

    return round_


def is_running(population: Population) -> bool:
    """Whether any member goes on."""
    return bool(jnp.any(population.trials.status == RUNNING))


def _where(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _size(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]
