"""One network on a text, as a member of a population: its strength and seed are data."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.regularisation.methods import Method, apply, embed
from seqjax import init as initializers
from seqjax.data import Rows, batch_at
from seqjax.devices.mesh import batch_mesh
from seqjax.losses import next_token_losses
from seqjax.recurrence.unroll import unroll
from seqjax.search.population import fill_up, init_population, make_round
from seqjax.training.step import TrainState, init_train_state, make_train_step
from seqjax.types import Array, Params, State


class Text(NamedTuple):
    """Tokens in rows, and how they are read."""

    train: Rows
    validation: Rows
    test: Rows


class Sizes(NamedTuple):
    vocabulary: int
    hidden: int
    seq_len: int
    batch: int
    epochs: int
    learning_rate: float


class Member(NamedTuple):
    """What differs between the members of a population."""

    strength: Array  # [] float32
    seed: Array  # [] int32


def trained(
    method: Method, sizes: Sizes, text: Text, members: Member, devices: int = 1
) -> dict[str, Any]:
    """Trains all members `[P]`; of each the epoch of lowest validation loss, and the losses of its parameters.

    Losses are measured without noise, "train" on the text that was trained on. They are NaN where a network
    diverged before its first epoch was over.
    """
    count = len(members.seed)
    members = fill_up(members, devices)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(sizes.learning_rate))
    states = jax.vmap(partial(first_state, method, sizes, optimizer))(members)
    population = init_population(states, pick=lambda state: state.params, count=count)
    advance = partial(one_epoch, method, sizes, optimizer)
    round_ = make_round(
        advance,
        pick=lambda state: state.params,
        patience=sizes.epochs,
        max_rounds=sizes.epochs,
        mesh=batch_mesh(devices) if devices > 1 else None,
    )
    for _ in range(sizes.epochs):
        population, _ = round_(population, members, text)
    trials = population.trials
    trials, members = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[:count]), (trials, members))
    measure = jax.jit(evaluate_all, static_argnums=(0, 1))
    test, train = (
        jnp.where(
            trials.best_round > 0, measure(method, sizes, trials.best, members, rows), jnp.nan
        )
        for rows in (text.test, text.train)
    )
    return {
        "strength": np.asarray(members.strength).tolist(),
        "seed": np.asarray(members.seed).tolist(),
        "validation": np.asarray(trials.best_loss).tolist(),
        "test": np.asarray(test).tolist(),
        "train": np.asarray(train).tolist(),
        "epoch": np.asarray(trials.best_round).tolist(),
    }


def first_state(
    method: Method, sizes: Sizes, optimizer: optax.GradientTransformation, member: Member
) -> TrainState:
    key = jax.random.key(member.seed)
    embedding_key, cell_key, head_key = jax.random.split(key, 3)
    cell = method.cell(sizes.hidden, member.strength)
    size = (sizes.hidden, sizes.vocabulary)
    params = {
        "embedding": jax.random.normal(embedding_key, size[::-1]) / jnp.sqrt(sizes.hidden),
        "cell": cell.init(cell_key, sizes.hidden),
        "head": initializers.lecun_normal()(head_key, size),
        "bias": jnp.zeros(sizes.vocabulary),
    }
    return init_train_state(params, optimizer, cell.initial_state((sizes.batch,)))


def run_network(
    method: Method,
    sizes: Sizes,
    params: Params,
    strength: Array,
    tokens: Array,
    state: State,
    key: Array | None,
) -> tuple[State, Array, Array]:
    """`(final state, outputs [T, B, H], logits [B, T, V])`; training if there is a key."""
    cell = method.cell(sizes.hidden, strength)
    keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
    xs = embed(method, params["embedding"], tokens, keys[0], strength)
    state, ys = unroll(cell, params["cell"], xs, state, key=keys[1])
    seen = apply(method, ys, keys[2], strength)
    return state, ys, jnp.swapaxes(seen @ params["head"] + params["bias"], 0, 1)


def one_epoch(
    method: Method,
    sizes: Sizes,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    member: Member,
    text: Text,
) -> tuple[TrainState, Array, dict[str, Array]]:
    """One pass over the training rows, then the validation loss, as a population's round."""

    def loss_fn(params: Params, carry: State, batch: Any, key: Array) -> tuple:
        start = method.cell(sizes.hidden, member.strength).initial_state((sizes.batch,))
        carry = jax.tree.map(lambda s, c: jnp.where(batch.first, s, c), start, carry)
        carry, ys, logits = run_network(
            method, sizes, params, member.strength, batch.inputs, carry, key
        )
        loss = next_token_losses(logits, batch.targets).mean()
        penalty = member.strength * method.penalty(ys) if method.penalty else 0.0
        return loss + penalty, (carry, {"loss": loss})

    step = make_train_step(loss_fn, optimizer, member.seed)
    num_steps = text.train.inputs.shape[1] // sizes.seq_len

    def body(_: Array, carry: tuple) -> tuple:
        state, total = carry
        state, metrics, _ = step(state, batch_at(text.train, sizes.seq_len, state.step))
        return state, total + metrics["loss"]

    state, total = lax.fori_loop(0, num_steps, body, (state, jnp.zeros(())))
    loss = evaluate(method, sizes, state.params, member, text.validation)
    return state, loss, {"loss": total / num_steps}


def evaluate(method: Method, sizes: Sizes, params: Params, member: Member, rows: Rows) -> Array:
    """Nats per token, the state carried over all windows."""

    def window(state: State, step: Array) -> tuple[State, Array]:
        batch = batch_at(rows, sizes.seq_len, step)
        state, _, logits = run_network(
            method, sizes, params, member.strength, batch.inputs, state, None
        )
        return state, jnp.sum(next_token_losses(logits, batch.targets) * batch.weights)

    cell = method.cell(sizes.hidden, member.strength)
    start = cell.initial_state((rows.inputs.shape[0],))
    _, sums = lax.scan(window, start, jnp.arange(rows.inputs.shape[1] // sizes.seq_len))
    return sums.sum() / jnp.sum(rows.weights)


def evaluate_all(
    method: Method, sizes: Sizes, params: Params, members: Member, rows: Rows
) -> Array:
    """`evaluate` of every member `[P]`."""
    one: Callable = lambda both: evaluate(method, sizes, both[0], both[1], rows)  # noqa: E731
    return lax.map(one, (params, members))
