"""The ways to train many networks that are compared: each makes a function that trains for a turn."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.population_speed.network import (
    MOMENTUM,
    NOTES,
    by_scan,
    by_seqjax,
    first_weights,
    gradients_by,
    update_of,
)
from experiments.population_speed.products import products_of
from seqjax.devices.mesh import batch_mesh
from seqjax.search.population import fill_up, init_population, make_round
from seqjax.types import Array


class Case(NamedTuple):
    """The work of a turn."""

    members: int
    hidden: int
    batch: int
    steps: int
    updates: int  # of each member in a turn
    devices: int  # the most that share the members
    group: int  # members that run as one batch; 0 to choose by their size


Turn = Callable[[], None]


def group_of(hidden: int, batch: int) -> int:
    """How many members run as one batch: the products of a small one do not fill a core."""
    return min(8, max(1, 256 // (hidden * batch))) if batch == 1 else 4 if hidden <= 32 else 1


def data_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Random piano rolls, inputs and targets `[updates, T, B, 88]`: targets are a step ahead."""
    rng = np.random.default_rng(0)
    rolls = rng.random((case.updates, case.steps + 1, case.batch, NOTES)) < 0.04
    return rolls[:, :-1].astype(np.float32), rolls[:, 1:].astype(np.float32)


def population_way(gradients_of: Callable[[int], Callable], case: Case) -> Turn:
    """A population: a turn is one round, with all updates of every member."""
    devices = min(case.devices, case.members)
    mesh = batch_mesh(devices) if devices > 1 else None
    group = case.group or group_of(case.hidden, case.batch)
    group = min(group, max(1, case.members // devices))
    keys = jax.random.split(jax.random.key(0), case.members)
    params = jax.vmap(partial(first_weights, case.hidden))(keys)
    members = fill_up((params, jax.tree.map(jnp.zeros_like, params)), group * devices)
    rates = fill_up(jnp.linspace(1e-4, 1e-3, case.members), group * devices)
    gradients = gradients_of(case.hidden)

    def advance(member: Any, rate: Array, data: Any) -> tuple[Any, Array, dict]:
        def update(member: Any, pair: Any) -> tuple[Any, None]:
            params, velocity = member
            return update_of(gradients, params, velocity, rate, *pair), None

        return lax.scan(update, member, data)[0], jnp.zeros(()), {}

    train_round = make_round(
        advance, pick=lambda _: (), patience=10**6, max_rounds=10**6, group=group, mesh=mesh
    )
    state = init_population(members, pick=lambda _: (), count=case.members)
    same = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    data = jax.device_put(data_of(case), same)

    def turn() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(train_round(state, rates, data))

    return turn


def loop_way(gradients_of: Callable[[int], Callable], case: Case) -> Turn:
    """A loop: one member after another, a call for each update."""
    update = jax.jit(partial(update_of, gradients_of(case.hidden)))
    first = jax.jit(partial(first_weights, case.hidden))
    params = [first(key) for key in jax.random.split(jax.random.key(0), case.members)]
    members = [(p, jax.tree.map(jnp.zeros_like, p)) for p in params]
    rates = list(jnp.linspace(1e-4, 1e-3, case.members))
    pairs = [jax.device_put(pair) for pair in zip(*data_of(case), strict=True)]

    def turn() -> None:
        for i, rate in enumerate(rates):
            for pair in pairs:
                members[i] = update(*members[i], rate, *pair)
        jax.block_until_ready(members)

    return turn


def torch_way(case: Case) -> Turn:
    """The same loop over torch's LSTM and torch's optimizer."""
    import torch

    torch.manual_seed(0)
    pairs = [
        (torch.from_numpy(x.copy()), torch.from_numpy(y.copy()))
        for x, y in zip(*data_of(case), strict=True)
    ]
    members = []
    for i in range(case.members):
        layer, head = torch.nn.LSTM(NOTES, case.hidden), torch.nn.Linear(case.hidden, NOTES)
        weights = [*layer.parameters(), *head.parameters()]
        rate = 1e-4 + 9e-4 * i / max(1, case.members - 1)
        members.append((layer, head, torch.optim.SGD(weights, rate, momentum=MOMENTUM)))
    loss_fn = torch.nn.BCEWithLogitsLoss(reduction="sum")

    def all_updates(threads: int) -> float:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        for layer, head, optimizer in members:
            for x, y in pairs:
                optimizer.zero_grad()
                (loss_fn(head(layer(x)[0]), y) / x.shape[1]).backward()
                optimizer.step()
        return time.perf_counter() - begin

    all_updates(1)
    threads = min(range(1, case.devices + 1), key=all_updates)  # one thread is often faster

    def turn() -> None:
        all_updates(threads)

    return turn


WAYS: dict[str, Callable[[Case], Turn]] = {
    "population": partial(population_way, lambda hidden: gradients_by(by_seqjax(hidden))),
    "loop": partial(loop_way, lambda hidden: gradients_by(by_scan(hidden))),
    "unroll": partial(loop_way, lambda hidden: gradients_by(by_seqjax(hidden))),
    "torch": torch_way,
    "products": partial(population_way, lambda hidden: products_of),
}
