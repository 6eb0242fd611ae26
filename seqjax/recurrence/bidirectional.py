"""One cell forward and one backward over the same sequence."""

import jax.numpy as jnp

from seqjax.errors import InputError
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params, State


def bidirectional(
    cells: tuple[Cell, Cell],
    params: tuple[Params, Params],
    xs: Array,
    state: tuple[State, State] | None = None,
    *,
    lengths: Array | None = None,
) -> tuple[tuple[State, State], Array]:
    """Runs one cell forward and one backward over a sequence (Schuster and Paliwal, 1997).

    Args:
      cells: `(forward, backward)`.
      params: a pair, one for each cell.
      xs: inputs `[T, ..., D]`.
      state: a pair of initial states, or None.
      lengths: as in `unroll`; the backward cell starts at each row's own last step.

    Returns:
      `((forward_state, backward_state), ys)` with ys `[T, ..., H_forward + H_backward]`.
    """
    if isinstance(cells, Cell) or len(cells) != 2:
        raise InputError(
            "cells must be a pair, (forward, backward), each with parameters of its own; one cell in both"
            " directions is (cell, cell)."
        )
    forward, backward = cells
    forward_params, backward_params = params
    forward_state, backward_state = (None, None) if state is None else state
    forward_state, forward_ys = unroll(forward, forward_params, xs, forward_state, lengths=lengths)
    backward_state, backward_ys = unroll(
        backward, backward_params, xs, backward_state, lengths=lengths, reverse=True
    )
    return (forward_state, backward_state), jnp.concatenate([forward_ys, backward_ys], -1)
