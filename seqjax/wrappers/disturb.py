"""Functions from a cell to a cell that disturbs its state in training: zoneout, Gaussian noise."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.errors import InputError, check_not_negative, shown
from seqjax.types import Array, Cell, Params, State, check_cell
from seqjax.wrappers.randomness import Run, add_noise, shows_its_h, wrap_step


def zoneout(cell: Cell, rates: Mapping[str, float | Array]) -> Cell:
    """Units that keep their last value at random steps (Krueger et al., 2017, eq. 3 and 6).

        sₜ = d ⊙ sₜ₋₁ + (1 - d) ⊙ F(sₜ₋₁, xₜ)        d ~ Bernoulli(rate) in training, rate without a key
        yₜ = hₜ

    One mask for each row, step, and part of the state; gates do not share it with anything. The new h
    is computed from the new c as it is before c is zoned out.

    Args:
      cell: one whose output is its state's `h`.
      rates: the share of units kept, in [0, 1], of each part of the state by name; parts
        that are not named are left alone: `zoneout(lstm(128), {"c": 0.5, "h": 0.05})`.

    Raises:
      InputError: if a rate lies outside, or the state has no such part.
    """
    check_cell("zoneout", cell)
    if not isinstance(rates, Mapping):
        raise InputError(
            f'zoneout takes rates by the parts of the state, as {{"c": 0.5, "h": 0.05}}, got {shown(rates)}.'
        )
    state = jax.eval_shape(lambda: cell.initial_state(()))
    unknown = set(rates) - set(getattr(state, "_fields", ()))
    if unknown or not rates or not shows_its_h(cell):
        raise InputError(
            "zoneout takes a cell whose output is the h of its state, and rates by the parts of that state,"
            f' as zoneout(lstm(128), {{"c": 0.5, "h": 0.05}}); got rates of {shown(sorted(rates))} for a'
            f" state of {shown(getattr(state, '_fields', type(state).__name__))}."
        )
    for name, rate in rates.items():
        if not isinstance(rate, jax.Array) and not _is_share(rate):
            raise InputError(f"the rate of {name} must lie in [0, 1], got {shown(rate)}.")

    def expected(run: Run) -> Run:
        def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
            new, _ = run(params, state, x)
            mixed = {}
            for name, rate in rates.items():
                old, share = getattr(state, name), jnp.asarray(rate, getattr(new, name).dtype)
                mixed[name] = share * old + (1 - share) * getattr(new, name)
            new = new._replace(**mixed)
            return new, new.h

        return step

    def per_step(key: Array, batch_shape: tuple[int, ...], input_size: int) -> dict[str, Array]:
        shapes = jax.eval_shape(lambda: cell.initial_state(batch_shape))
        keys = jax.random.split(key, len(rates))
        return {
            name: jax.random.bernoulli(k, rate, getattr(shapes, name).shape)
            for k, (name, rate) in zip(keys, rates.items(), strict=True)
        }

    def noisy(run: Run, masks: Any, params: Params, state: State, x: Array) -> tuple[State, Array]:
        new, _ = run(params, state, x)
        kept = {
            name: jnp.where(keep, getattr(state, name), getattr(new, name))
            for name, keep in masks[1].items()
        }
        new = new._replace(**kept)
        return new, new.h

    evaluated, _ = wrap_step(cell, expected)
    return add_noise(cell, noisy, per_step=per_step)._replace(
        step=evaluated, gates=None, update=None
    )


def _is_share(rate: Any) -> bool:
    try:
        return bool(0 <= rate <= 1)
    except (TypeError, ValueError):
        return False


def state_noise(cell: Cell, stddev: float | Array) -> Cell:
    """Adds N(0, stddev²) to h before every step, in training (Jim, Giles and Horne, 1996).

    One draw for each row, step and unit. What is carried on is computed from the disturbed h.

    Args:
      cell: one whose state has an `h`.
      stddev: of the noise, at least 0.

    Raises:
      InputError: if stddev is negative, or the state has no h.
    """
    check_cell("state_noise", cell)
    if not isinstance(stddev, jax.Array):
        check_not_negative("stddev", stddev)
    if not hasattr(jax.eval_shape(lambda: cell.initial_state(())), "h"):
        raise InputError("state_noise takes a cell whose state has an h, such as rnn(50).")

    def per_step(key: Array, batch_shape: tuple[int, ...], input_size: int) -> Array:
        h = jax.eval_shape(lambda: cell.initial_state(batch_shape)).h
        return stddev * jax.random.normal(key, h.shape)

    def step(run: Run, masks: Any, params: Params, state: State, x: Array) -> tuple[State, Array]:
        return run(params, state._replace(h=state.h + masks[1].astype(state.h.dtype)), x)

    return add_noise(cell, step, per_step=per_step)
