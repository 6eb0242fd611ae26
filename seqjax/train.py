"""Training as pure functions: one update, and many updates in one dispatch.

There is no trainer: an experiment writes its own loop around `make_train_steps`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from seqjax.errors import RunError
from seqjax.types import Array, Params

Batch = Any
Carry = Any
LossFn = Callable[[Params, Carry, Batch, Array], tuple[Array, tuple[Carry, dict[str, Array]]]]


class TrainState(NamedTuple):
    """All that a run must save to go on exactly where it stopped."""

    step: Array  # [] int32, updates tried so far; also the position in the data
    params: Params
    opt_state: optax.OptState
    carry: Carry  # what one batch hands to the next, e.g. the state of truncated BPTT
    skipped: Array  # [] int32, updates not applied because a loss or gradient was not finite
    skipped_in_a_row: Array  # [] int32


class Metrics(NamedTuple):
    """Means over the updates that were applied; NaN if none was."""

    values: dict[str, Array]  # what the loss function reported, and grad_norm
    applied: Array  # [] int32


def init_train_state(
    params: Params, optimizer: optax.GradientTransformation, carry: Carry = ()
) -> TrainState:
    """The state before the first update."""
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, optimizer.init(params), carry, zero, zero)


def make_train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, seed: int
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array], Array]]:
    """Builds `step(state, batch) -> (state, metrics, finite)`, one update.

    Where the loss or the gradient is not finite, parameters, optimizer state and carry stay as
    they were and the update is counted as skipped.

    Args:
      loss_fn: `(params, carry, batch, key) -> (loss, (carry, metrics))`; metrics is a dict of
        scalars.
      optimizer: any Optax transformation.
      seed: the key of update k is `fold_in(key(seed), k)`, so randomness needs no saving.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array], Array]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        (loss, (carry, metrics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.carry, batch, key
        )
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)

        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        params, opt_state, carry = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state, carry),
            (state.params, state.opt_state, state.carry),
        )
        new_state = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            carry=carry,
            skipped=state.skipped + ~finite,
            skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
        )
        return new_state, {**metrics, "grad_norm": grad_norm}, finite

    return step


def make_train_steps(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array], Array]],
    batch_at: Callable[[Any, Array], Batch],
) -> Callable[[TrainState, Any, int], tuple[TrainState, Metrics]]:
    """Builds `steps(state, data, num_steps) -> (state, metrics)`, compiled once for any count.

    Several updates in one dispatch make the cost of dispatch vanish.

    Args:
      train_step: from `make_train_step`.
      batch_at: `(data, step) -> batch`, the batch of an update, a pure function.
    """

    @jax.jit
    def steps(state: TrainState, data: Any, num_steps: int) -> tuple[TrainState, Metrics]:
        shapes = jax.eval_shape(lambda s: train_step(s, batch_at(data, s.step))[1], state)
        sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def body(_: Array, carry: tuple) -> tuple:
            state, sums, applied = carry
            state, metrics, finite = train_step(state, batch_at(data, state.step))
            sums = jax.tree.map(lambda s, m: s + jnp.where(finite, m, 0), sums, metrics)
            return state, sums, applied + finite

        state, sums, applied = lax.fori_loop(
            0, num_steps, body, (state, sums, jnp.zeros((), jnp.int32))
        )
        return state, Metrics(jax.tree.map(lambda s: s / applied, sums), applied)

    return steps


def check_progress(state: TrainState, *, max_skipped_in_a_row: int) -> None:
    """Raises RunError if too many updates in a row were not finite."""
    if int(state.skipped_in_a_row) >= max_skipped_in_a_row:
        raise RunError(
            f"stopped at step {int(state.step)}: the last {int(state.skipped_in_a_row)} updates"
            " had a loss or gradient that is not finite. Try a smaller --learning_rate or"
            " --clip_norm=1."
        )
