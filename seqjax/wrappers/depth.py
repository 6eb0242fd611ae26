"""Functions from cells to a cell: depth, skip connections in depth and in time, leaky units."""

from collections.abc import Callable
from itertools import accumulate

import jax
import jax.numpy as jnp

from seqjax.errors import InputError
from seqjax.types import Array, Cell, Params, State


def stack(*cells: Cell) -> Cell:
    """Each cell reads the output of the one below it; the output is the top cell's.

    Parameters and state are tuples, one entry per cell.
    """
    _check_cells("stack", cells)

    def init(key: Array, input_size: int) -> Params:
        sizes = [input_size, *(cell.output_size for cell in cells[:-1])]
        return _init_each(cells, key, sizes)

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        new_state = []
        for cell, cell_params, cell_state in zip(cells, params, state, strict=True):
            cell_state, x = cell.step(cell_params, cell_state, x)
            new_state.append(cell_state)
        return tuple(new_state), x

    return Cell(init, _initial_states(cells), step, cells[-1].output_size)


def dense_stack(*cells: Cell) -> Cell:
    """A stack with dense skips: each cell reads the input and the outputs of all cells below.

    The output is the concatenation of every cell's, so that a read-out sees every layer
    (Graves, 2013). Parameters and state are tuples, one entry per cell.
    """
    _check_cells("dense_stack", cells)
    output_sizes = [cell.output_size for cell in cells]

    def init(key: Array, input_size: int) -> Params:
        return _init_each(cells, key, list(accumulate([input_size, *output_sizes[:-1]])))

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        new_state, seen = [], [x]
        for cell, cell_params, cell_state in zip(cells, params, state, strict=True):
            cell_state, y = cell.step(cell_params, cell_state, jnp.concatenate(seen, -1))
            new_state.append(cell_state)
            seen.append(y)
        return tuple(new_state), jnp.concatenate(seen[1:], -1)

    return Cell(init, _initial_states(cells), step, sum(output_sizes))


def residual(cell: Cell) -> Cell:
    """y = x + cell(x): the cell learns what to add to its input, of the same size."""

    def init(key: Array, input_size: int) -> Params:
        if input_size != cell.output_size:
            raise InputError(
                f"residual adds the input to the output, so both need one size: got inputs of"
                f" size {input_size} and a cell of output size {cell.output_size}."
            )
        return cell.init(key, input_size)

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        state, y = cell.step(params, state, x)
        return state, x + y

    return Cell(init, cell.initial_state, step, cell.output_size)


def _check_cells(name: str, cells: tuple[Cell, ...]) -> None:
    if not cells or not all(isinstance(cell, Cell) for cell in cells):
        raise InputError(
            f"{name} takes one or more cells, as {name}(lstm(128), lstm(128)), got {cells!r}."
        )


def _init_each(cells: tuple[Cell, ...], key: Array, input_sizes: list[int]) -> Params:
    keys = jax.random.split(key, len(cells))
    return tuple(c.init(k, size) for c, k, size in zip(cells, keys, input_sizes, strict=True))


def _initial_states(cells: tuple[Cell, ...]) -> Callable[..., State]:
    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        return tuple(cell.initial_state(batch_shape) for cell in cells)

    return initial_state
