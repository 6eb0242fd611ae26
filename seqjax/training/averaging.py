"""Averages of the parameters over the updates of a run (Polyak and Juditsky, 1992)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqjax.errors import RunError
from seqjax.types import Array, Params, float32_or_wider


class AverageState(NamedTuple):
    inner: Any  # of the optimizer
    mean: Params  # float32 or wider, of the parameters since `begin`; they themselves before
    updates: Array  # [] int32, how many are averaged
    begun: Array  # [] bool


def averaged(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer, with the mean of all parameters since `begin` kept beside (ASGD).

    The updates are the optimizer's own. `mean_of` gives the mean, for evaluation; until `begin` was called it
    is the parameters. NT-ASGD (Merity et al., 2018) begins when the validation loss has not improved
    for some evaluations: `should_begin` says when.

    It must stand outermost, since it averages what its own updates lead to: nothing behind it in `optax.chain`
    that changes them, and not within `lazy_rows`.
    """

    def init(params: Params) -> AverageState:
        mean = jax.tree.map(_wide, params)
        return AverageState(
            optimizer.init(params), mean, jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        )

    def update(grads: Any, state: AverageState, params: Params) -> tuple[Any, AverageState]:
        updates, inner = optimizer.update(grads, state.inner, params)
        new = optax.apply_updates(params, updates)
        count = jnp.where(state.begun, state.updates + 1, 0)
        share = 1 / jnp.maximum(count, 1).astype(jnp.float32)
        mean = jax.tree.map(
            lambda m, p: m + (_wide(p) - m) * share.astype(m.dtype), state.mean, new
        )
        return updates, AverageState(inner, mean, count, state.begun)

    return optax.GradientTransformation(init, update)


def begin(opt_state: Any) -> Any:
    """The optimizer state, averaging from the next update on."""

    def begun(node: Any) -> Any:
        return node._replace(begun=jnp.ones((), bool)) if _is_average(node) else node

    return jax.tree.map(begun, opt_state, is_leaf=_is_average)


def mean_of(opt_state: Any) -> Params:
    """The mean of the parameters, as far as it goes.

    Raises:
      RunError: if the optimizer keeps none.
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_average)
    found = [node for node in nodes if _is_average(node)]
    if len(found) != 1:
        raise RunError("the optimizer keeps no mean: make it with averaged(...).")
    return found[0].mean


def should_begin(losses: list[float], patience: int = 5) -> bool:
    """Whether the last validation loss is worse than the best of those more than `patience` before it.

    The trigger of NT-ASGD, with their patience of 5.
    """
    before = losses[: -patience - 1]
    return len(before) > 0 and losses[-1] > min(before)


def _wide(array: Array) -> Array:
    """At least float32: a mean of half precision comes to a standstill."""
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(array, float32_or_wider(array)) if is_float else array


def _is_average(node: Any) -> bool:
    return isinstance(node, AverageState)
