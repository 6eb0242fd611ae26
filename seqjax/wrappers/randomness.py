"""How a wrapper adds randomness of its own to a cell, and keeps that of the cell within."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.errors import InputError
from seqjax.types import Array, Cell, Noise, Params, State

Run = Callable[[Params, State, Array], tuple[State, Array]]  # a step, its masks drawn
Draw = Callable[[Array, tuple[int, ...], int], Any]  # (key, batch_shape, input_size) -> masks


def nothing(key: Array, batch_shape: tuple[int, ...], input_size: int) -> tuple[()]:
    """The masks of what draws none."""
    del key, batch_shape, input_size
    return ()


def add_noise(
    cell: Cell,
    step: Callable[[Run, Any, Params, State, Array], tuple[State, Array]],
    *,
    per_sequence: Draw = nothing,
    per_step: Draw = nothing,
) -> Cell:
    """The cell with noise around it, and with its own noise still within.

    Args:
      cell: any cell.
      step: `(run, (masks, masks_of_step), params, state, x) -> (state, y)`, where `run` is the
        cell's step with its own masks.
      per_sequence: draws masks, once for a sequence; see `Noise`.
      per_step: draws masks for each step.
    """
    inner = cell.noise

    def both(own: Draw, of_cell: Draw) -> Draw:
        def draw(key: Array, batch_shape: tuple[int, ...], input_size: int) -> tuple[Any, Any]:
            own_key, cell_key = jax.random.split(key)
            sizes = batch_shape, input_size
            return own(own_key, *sizes), of_cell(cell_key, *sizes)

        return draw

    def noisy_step(params: Params, masks: Any, state: State, x: Array) -> tuple[State, Array]:
        (own, of_cell), (own_of_step, cell_of_step) = masks
        run = with_masks(cell, (of_cell, cell_of_step))
        return step(run, (own, own_of_step), params, state, x)

    noise = Noise(
        per_sequence=both(per_sequence, inner.per_sequence if inner else nothing),
        per_step=both(per_step, inner.per_step if inner else nothing),
        step=noisy_step,
    )
    return cell._replace(noise=noise)


def with_masks(cell: Cell, masks: Any) -> Run:
    """The cell's step with these masks; its step as it is where it has no noise."""
    noise = cell.noise
    if noise is None:
        return cell.step
    return lambda params, state, x: noise.step(params, masks, state, x)


def wrap_step(
    cell: Cell, wrap: Callable[[Run], Run], input_size: Callable[[int], int] = lambda size: size
) -> tuple[Run, Noise | None]:
    """What `wrap` makes of the cell's step, and the noise of a cell with that step.

    Args:
      cell: the cell within.
      wrap: makes a step from a step.
      input_size: the size of the inner cell's input, of the wrapper's.
    """
    noise = cell.noise
    if noise is None:
        return wrap(cell.step), None

    def resized(draw: Draw) -> Draw:
        return lambda key, batch_shape, size: draw(key, batch_shape, input_size(size))

    def noisy_step(params: Params, masks: Any, state: State, x: Array) -> tuple[State, Array]:
        return wrap(with_masks(cell, masks))(params, state, x)

    return wrap(cell.step), Noise(resized(noise.per_sequence), resized(noise.per_step), noisy_step)


def probed_size(cell: Cell) -> int:
    """A number of inputs that the cell takes: 1, or as many as outputs, where it adds one to the other."""
    try:
        jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    except InputError:
        return cell.output_size
    return 1


def shows_its_h(cell: Cell) -> bool:
    """Whether a cell's output is the h of its new state: not alike, but the same value of the step."""
    size = probed_size(cell)

    def step() -> tuple[State, Array]:
        params = cell.init(jax.random.key(0), size)
        return cell.step(params, cell.initial_state(()), jnp.zeros(size))

    closed, (state, _) = jax.make_jaxpr(step, return_shape=True)()
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state)]
    return ".h" in paths and closed.jaxpr.outvars[paths.index(".h")] is closed.jaxpr.outvars[-1]
