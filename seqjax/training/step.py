"""Training as pure functions: one update, and many updates in one dispatch.

There is no trainer: an experiment writes its own loop over `seqjax.training.fit`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from seqjax.errors import RunError
from seqjax.types import Array, Params, float32_or_wider

Batch = Any
Carry = Any
LossFn = Callable[[Params, Carry, Batch, Array], tuple[Array, tuple[Carry, dict[str, Array]]]]


class TrainState(NamedTuple):
    """All that a run must save to go on exactly where it stopped."""

    step: Array  # [] int32, updates tried so far; also the position in the data
    params: Params
    opt_state: optax.OptState
    carry: Carry  # what one batch hands to the next: leaves [B, ...], or `Carried`
    skipped: Array  # [] int32, updates not applied, or taken back by `roll_back`
    skipped_in_a_row: Array  # [] int32, because a loss, gradient or carry was not finite
    first_fault: Array  # [2] int32, the first of these: its step, and where it appeared; 0, 0: none


class Carried(NamedTuple):
    """A `carry` with parts that belong to no row; place_training copies these to every device."""

    rows: Any  # leaves [B, ...], one for each row of a batch: the states of truncated BPTT
    statistics: Any  # of the model, as `modules.split_model` finds them


class Metrics(NamedTuple):
    """Means over the updates that were applied; NaN if none was."""

    values: dict[str, Array]  # what the loss function reported, and grad_norm
    applied: Array  # [] int32


def init_train_state(
    params: Params, optimizer: optax.GradientTransformation, carry: Carry = ()
) -> TrainState:
    """The state before the first update."""
    zero = jnp.zeros((), jnp.int32)
    fault = jnp.zeros(2, jnp.int32)
    return TrainState(zero, params, optimizer.init(params), carry, zero, zero, fault)


def make_train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, seed: int | Array
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array], Array]]:
    """Builds `step(state, batch) -> (state, metrics, finite)`, one update.

    Where the loss or the gradient is not finite, or the new carry has a NaN, parameters, optimizer state and carry stay as
    they were, the update is counted as skipped, and the first time is written down with its place:
    the data, the loss, an array of the gradient, or the carry (`fault_of` puts it in words).

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
        # squares of half precision would overflow
        grad_norm = optax.tree.norm(jax.tree.map(_widened, grads))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)

        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & ~_any_nan(carry)
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
            first_fault=lax.cond(
                finite | (state.first_fault[1] > 0),
                lambda: state.first_fault,
                lambda: jnp.stack([state.step + 1, _first_place(batch, loss, grads, grad_norm)]),
            ),
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
        # in float32 at least, or a sum of many half-precision numbers stands still
        sums = jax.tree.map(lambda s: jnp.zeros(s.shape, float32_or_wider(s)), shapes)

        def body(_: Array, carry: tuple) -> tuple:
            state, sums, applied = carry
            state, metrics, finite = train_step(state, batch_at(data, state.step))
            sums = jax.tree.map(
                lambda s, m: s + jnp.where(finite, m, 0).astype(s.dtype), sums, metrics
            )
            return state, sums, applied + finite

        state, sums, applied = lax.fori_loop(
            0, num_steps, body, (state, sums, jnp.zeros((), jnp.int32))
        )
        return state, Metrics(jax.tree.map(lambda s: s / applied, sums), applied)

    return steps


def _widened(gradient: Array) -> Array:
    is_float = jnp.issubdtype(gradient.dtype, jnp.floating)
    return gradient.astype(float32_or_wider(gradient)) if is_float else gradient


def _any_nan(carry: Carry) -> Array:
    """Whether a float of the carry is NaN; infinity may be the start of a running maximum."""
    floats = [x for x in jax.tree.leaves(carry) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return jnp.any(jnp.array([jnp.any(jnp.isnan(x)) for x in floats], bool))


def _first_place(batch: Batch, loss: Array, grads: Params, grad_norm: Array) -> Array:
    """Where a number that is not finite appeared first: a place in `_places`, from 1."""
    floats = [x for x in jax.tree.leaves(batch) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    groups = [floats, [loss], *([g] for g in jax.tree.leaves(grads)), [grad_norm]]
    good = [jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in group])) for group in groups]
    return 1 + jnp.argmin(jnp.array([*good, False])).astype(jnp.int32)


def _places(params: Params) -> list[str]:
    paths = [
        jax.tree_util.keystr(p, simple=True, separator=".")
        for p, _ in jax.tree.leaves_with_path(params)
    ]
    gradients = [f"the gradient of {path}" for path in paths]
    norm = "the gradient's norm, beyond float32"
    return ["the data", "the loss", *gradients, norm, "the carry"]


def fault_of(state: TrainState) -> str:
    """Where and when numbers that are not finite first appeared, in words; "" if never."""
    step, place = (int(v) for v in state.first_fault)
    return f"first at step {step}, in {_places(state.params)[place - 1]}" if place else ""


def check_progress(state: TrainState, *, most_in_a_row: int) -> None:
    """Raises RunError if more updates in a row were not finite; 0: if any ever was."""
    in_a_row = int(state.skipped_in_a_row)
    if in_a_row > most_in_a_row or (not most_in_a_row and fault_of(state)):
        raise RunError(
            f"stopped at step {int(state.step)}: updates had a loss or gradient that is not finite,"
            f" {in_a_row} in a row now ({fault_of(state)}). Try a smaller"
            " learning_rate, or clip_norm=1."
        )


def check_applied(state: TrainState, *, at_most: float = 0.9) -> None:
    """Raises RunError if a larger share of all updates than `at_most` was skipped: nothing was learnt."""
    step, skipped = int(state.step), int(state.skipped)
    if skipped > at_most * step:
        reason = fault_of(state) or "they were taken back"
        raise RunError(
            f"{skipped} of {step} updates were skipped ({reason}): what is left is no"
            " training. Try a smaller learning rate or a smaller norm of the gradient."
        )


def roll_back(state: TrainState, good: TrainState) -> TrainState:
    """Takes the updates since `good` back, and goes on with the data that come next.

    The step goes on, since the same data would only lead to the same place again; what was done
    since counts as skipped.
    """
    return good._replace(
        step=state.step,
        skipped=good.skipped + (state.step - good.step),
        first_fault=state.first_fault,
    )
