"""How much of a loss at the last step reaches each earlier state: ∂L_T/∂s_k."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.diagnose.jacobians import flatten, normalise, rescale, trajectory
from seqjax.errors import InputError
from seqjax.types import Array, Cell, Params, State


class StateGradients(NamedTuple):
    """∂L_T/∂s_k = exp(log_norm[k]) · direction[k], k = 0 the state before the first step.

    The norm of a part of the state is that of the part of direction times exp(log_norm).
    """

    direction: (
        State  # leaves [T, ..., H], norm 1 over the whole state of a row; zeros if it is zero
    )
    log_norm: Array  # [T, ...], natural logarithm of ‖∂L_T/∂s_k‖₂; -inf if it is zero


def state_gradients(
    cell: Cell,
    params: Params,
    xs: Array,
    loss_fn: Callable[[State, Array], Array],
    state: State | None = None,
) -> StateGradients:
    """The gradient of a loss after the last step with respect to every earlier state.

    One backward pass, rescaled at every step: neither 0.1^2000 nor 3^2000 is lost, and a step costs
    no more than in ordinary back-propagation.

    Args:
      cell: any cell.
      params: from `cell.init`.
      xs: inputs `[T, ..., D]`, any number of batch axes.
      loss_fn: `(final_state, y) -> loss [...]`, one number for each row of the batch, that
        depends on that row alone; y `[..., output_size]` is the output of the last step.
      state: the state before the first step; `cell.initial_state` if None.

    Raises:
      InputError: if loss_fn does not give one number for each row, and as `unroll`.
    """
    states = trajectory(cell, params, xs, state)
    batch_shape = xs.shape[1:-1]

    def loss_of(vector: Array, rebuild: Callable, x: Array) -> Array:
        losses = loss_fn(*cell.step(params, rebuild(vector), x))
        if losses.shape != batch_shape:
            raise InputError(
                f"loss_fn must return one loss for each row, shape {batch_shape}, got an array of"
                f" shape {losses.shape}."
            )
        return jnp.sum(losses)  # the rows are independent: the gradient is each row's own

    def step(later: tuple[Array, Array], inputs: tuple) -> tuple[tuple, tuple]:
        gradient, exponent = later
        state, x = inputs
        vector, rebuild = flatten(state, len(batch_shape))
        _, pull_back = jax.vjp(
            lambda v: flatten(cell.step(params, rebuild(v), x)[0], len(batch_shape))[0], vector
        )
        gradient, power = rescale(pull_back(gradient)[0], axes=1)
        earlier = gradient, exponent + power
        return earlier, earlier

    last = len(xs) - 1
    vector, rebuild = flatten(jax.tree.map(lambda a: a[last], states), len(batch_shape))
    nearest = rescale(jax.grad(loss_of)(vector, rebuild, xs[last]), axes=1)
    before = jax.tree.map(lambda a: a[:last], (states, xs))
    _, earlier = lax.scan(step, nearest, before, reverse=True)
    gradients, exponents = jax.tree.map(
        lambda many, one: jnp.concatenate([many, one[None]]), earlier, nearest
    )
    direction, log_norm = normalise(gradients, exponents, axes=1)
    return StateGradients(flatten(states, 1 + len(batch_shape))[1](direction), log_norm)


def memory_horizon(log_norm: Array, fraction: float = 0.01) -> Array:
    """The largest lag up to which the gradient stays above `fraction` of the nearest one.

    The lag of a state is the number of steps from it to the loss: 1 for the last row. If the
    gradient falls by a factor r per step, the horizon is 1 + ⌊log fraction / log r⌋. T means at
    least T: the sequence ended before the gradient did. 0 if the nearest is zero already.

    Args:
      log_norm: log norms `[T, ...]`, of `state_gradients` or `state_jacobians`.
      fraction: of the norm at lag 1.

    Returns:
      Integers `[...]`.

    Raises:
      InputError: if fraction does not lie in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"fraction must lie in (0, 1], got {fraction}.")
    by_lag = log_norm[::-1]
    above = (by_lag >= by_lag[0] + math.log(fraction)) & (by_lag[0] > -jnp.inf)
    return jnp.sum(jnp.cumprod(above, axis=0), axis=0)
