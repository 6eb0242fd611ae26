"""Functions from cells to a cell: depth, skip connections in depth and in time, leaky units."""

from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.errors import InputError, check_fraction, check_positive
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


def leaky(cell: Cell, alpha: float) -> Cell:
    """Leaky integration: every unit keeps the share α of its state at every step.

        sₜ = α sₜ₋₁ + (1 - α) F(sₜ₋₁, xₜ)        yₜ = hₜ

    F is the cell's step and s its whole state, so that a unit forgets with a time constant of about
    1 / (1 - α) steps (Jaeger et al., 2007; Bengio, Boulanger-Lewandowski and Pascanu, 2013).

    Args:
      cell: one whose output is its state's `h`: `rnn`, `gru`, `lstm` and their kin.
      alpha: α in [0, 1); 0 is the cell itself.

    Raises:
      InputError: if alpha lies outside, or the cell's state has no `h`.
    """
    check_fraction("alpha", alpha)
    if not hasattr(cell.initial_state(()), "h"):
        raise InputError("leaky takes a cell whose state has an h, such as rnn(50), got another.")

    def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
        candidate, _ = cell.step(params, state, x)
        state = jax.tree.map(lambda old, new: alpha * old + (1 - alpha) * new, state, candidate)
        return state, state.h

    return Cell(cell.init, cell.initial_state, step, cell.output_size)


class TimeSkipState(NamedTuple):
    inner: State  # the cell's own
    past: Array  # [..., lag, H], its last outputs, the oldest first


def time_skip(cell: Cell, lag: int) -> Cell:
    """Skip connections through time: the cell also reads its own output of `lag` steps ago.

        sₜ, yₜ = F(sₜ₋₁, [xₜ, yₜ₋ₖ])        k = lag

    A gradient reaches T steps back over T / lag of these connections (Lin et al., 1996; El Hihi and
    Bengio, 1996). The cell's input kernel grows by `output_size` rows, which read the past output.

    Raises:
      InputError: if lag is not a positive integer.
    """
    check_positive("lag", lag)

    def init(key: Array, input_size: int) -> Params:
        return cell.init(key, input_size + cell.output_size)

    def initial_state(batch_shape: tuple[int, ...] = ()) -> TimeSkipState:
        past = jnp.zeros((*batch_shape, lag, cell.output_size))
        return TimeSkipState(cell.initial_state(batch_shape), past)

    def step(params: Params, state: TimeSkipState, x: Array) -> tuple[TimeSkipState, Array]:
        x = jnp.concatenate([x, state.past[..., 0, :]], axis=-1)
        inner, y = cell.step(params, state.inner, x)
        past = jnp.concatenate([state.past[..., 1:, :], y[..., None, :]], axis=-2)
        return TimeSkipState(inner, past), y

    return Cell(init, initial_state, step, cell.output_size)


def _check_cells(name: str, cells: tuple[Cell, ...]) -> None:
    if not cells or not all(isinstance(cell, Cell) for cell in cells):
        raise InputError(
            f"{name} takes one or more cells, as {name}(lstm(128), lstm(128)), got {cells!r}."
        )


def _init_each(cells: tuple[Cell, ...], key: Array, input_sizes: list[int]) -> Params:
    keys = jax.random.split(key, len(cells))
    return tuple(c.init(k, size) for c, k, size in zip(cells, keys, input_sizes, strict=True))


def _initial_states(cells: tuple[Cell, ...]):
    def initial_state(batch_shape: tuple[int, ...] = ()) -> State:
        return tuple(cell.initial_state(batch_shape) for cell in cells)

    return initial_state
