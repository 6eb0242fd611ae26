"""Functions from cells to a cell: depth, and connections past a layer."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.errors import InputError
from seqjax.types import Array, Cell, Noise, Params, State, check_cell
from seqjax.wrappers.randomness import Draw, Run, nothing, with_masks, wrap_step


def stack(*cells: Cell) -> Cell:
    """Each cell reads the output of the one below it; the output is the top cell's.

    Parameters and state are tuples, one entry per cell.
    """
    _check_cells("stack", cells)

    def input_sizes(input_size: int) -> list[int]:
        return [input_size, *(cell.output_size for cell in cells[:-1])]

    def wrap(runs: Sequence[Run]) -> Run:
        def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
            new_state = []
            for run, cell_params, cell_state in zip(runs, params, state, strict=True):
                cell_state, x = run(cell_params, cell_state, x)
                new_state.append(cell_state)
            return tuple(new_state), x

        return step

    return _join(cells, input_sizes, wrap, cells[-1].output_size)


def dense_stack(*cells: Cell) -> Cell:
    """A stack with dense skips: each cell reads the input and the outputs of all cells below.

    The output is the concatenation of every cell's, so that a read-out sees every layer
    (Graves, 2013). Parameters and state are tuples, one entry per cell.
    """
    _check_cells("dense_stack", cells)
    output_sizes = [cell.output_size for cell in cells]

    def input_sizes(input_size: int) -> list[int]:
        return list(accumulate([input_size, *output_sizes[:-1]]))

    def wrap(runs: Sequence[Run]) -> Run:
        def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
            new_state, seen = [], [x]
            for run, cell_params, cell_state in zip(runs, params, state, strict=True):
                cell_state, y = run(cell_params, cell_state, jnp.concatenate(seen, -1))
                new_state.append(cell_state)
                seen.append(y)
            return tuple(new_state), jnp.concatenate(seen[1:], -1)

        return step

    return _join(cells, input_sizes, wrap, sum(output_sizes))


def residual(cell: Cell) -> Cell:
    """y = x + cell(x): the cell learns what to add to its input, of the same size."""
    check_cell("residual", cell)

    def init(key: Array, input_size: int) -> Params:
        if input_size != cell.output_size:
            raise InputError(
                f"residual adds the input to the output, so both need one size: got inputs of"
                f" size {input_size} and a cell of output size {cell.output_size}."
            )
        return cell.init(key, input_size)

    def wrap(run: Run) -> Run:
        def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
            state, y = run(params, state, x)
            return state, x + y

        return step

    step, noise = wrap_step(cell, wrap)
    return Cell(init, cell.initial_state, step, cell.output_size, noise=noise)


def _check_cells(name: str, cells: tuple[Cell, ...]) -> None:
    if not cells or not all(isinstance(cell, Cell) for cell in cells):
        raise InputError(
            f"{name} takes one or more cells, as {name}(lstm(128), lstm(128)), got {cells!r}."
        )


def _join(
    cells: tuple[Cell, ...],
    input_sizes: Callable[[int], list[int]],
    wrap: Callable[[Sequence[Run]], Run],
    output_size: int,
) -> Cell:
    """The cell whose step is made of those of the cells, each with its own noise.

    Args:
      cells: parameters, states and masks are tuples, one entry for each.
      input_sizes: the size of each cell's input, of the whole's.
      wrap: makes the step from steps.
      output_size: of the whole.
    """

    def init(key: Array, input_size: int) -> Params:
        keys = jax.random.split(key, len(cells))
        sizes = input_sizes(input_size)
        return tuple(c.init(k, size) for c, k, size in zip(cells, keys, sizes, strict=True))

    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        return tuple(cell.initial_state(batch_shape) for cell in cells)

    def draw(draws: Sequence[Draw]) -> Draw:
        def each(key: Array, batch_shape: tuple[int, ...], input_size: int) -> tuple[Any, ...]:
            keys = jax.random.split(key, len(cells))
            sizes = input_sizes(input_size)
            return tuple(
                own(k, batch_shape, size) for own, k, size in zip(draws, keys, sizes, strict=True)
            )

        return each

    def noisy_step(params: Params, masks: Any, state: State, x: Array) -> tuple[State, Array]:
        of_each = zip(cells, *masks, strict=True)
        return wrap([with_masks(cell, own) for cell, *own in of_each])(params, state, x)

    noises = [cell.noise for cell in cells]
    noise = Noise(
        per_sequence=draw([n.per_sequence if n else nothing for n in noises]),
        per_step=draw([n.per_step if n else nothing for n in noises]),
        step=noisy_step,
    )
    return Cell(
        init,
        initial_state,
        wrap([cell.step for cell in cells]),
        output_size,
        noise=noise if any(noises) else None,
    )
