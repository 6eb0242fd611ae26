"""How long each gate is shut or open (Karpathy, Johnson and Fei-Fei, 2015, figure 3)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.diagnose.jacobians import trajectory
from seqjax.errors import InputError
from seqjax.types import Array, Cell, Params, State

Gates = Callable[[Params, State, Array], Any]  # (params, state, x) -> a NamedTuple of [..., H]


class Saturation(NamedTuple):
    """Shares of time by gate, in the cell's own NamedTuple of gates: `below.f`, `above.f`."""

    below: Any  # leaves [..., H], "left-saturated": the gate is shut
    above: Any  # leaves [..., H], "right-saturated": the gate is open


def gate_saturation(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    gates: Gates | None = None,
    low: float = 0.1,
    high: float = 0.9,
) -> Saturation:
    """The share of time that each unit of each gate spends below `low` and above `high`.

    A candidate (g of an LSTM, n of a GRU, h of a plain network), which lies in (-1, 1), counts by its
    magnitude.

    Args:
      cell: a cell with gates.
      params: from `cell.init`.
      xs: inputs `[T, ..., D]`, any number of batch axes.
      state: the state before the first step; `cell.initial_state` if None.
      gates: `(params, state, x) -> NamedTuple` of activations; `gates_of(cell)` if None.
      low: the bound below.
      high: the bound above.

    Raises:
      InputError: if the cell has no gates, and as `unroll`.
    """
    gates = gates_of(cell) if gates is None else gates
    states = trajectory(cell, params, xs, state)
    activations = jax.vmap(lambda s, x: gates(params, s, x))(states, xs)
    size = jax.tree.map(jnp.abs, activations)
    return Saturation(
        below=jax.tree.map(lambda a: jnp.mean(a < low, axis=0), size),
        above=jax.tree.map(lambda a: jnp.mean(a > high, axis=0), size),
    )


def gates_of(cell: Cell) -> Gates:
    """The cell's `gates`.

    Raises:
      InputError: if it has none.
    """
    if cell.gates is None:
        name = getattr(cell.step, "__qualname__", repr(cell.step)).split(".")[0]
        raise InputError(
            f"the cell built by {name} has no gates: take one that has, such as seqjax.lstm, or give"
            " gates=(params, state, x) -> NamedTuple of activations."
        )
    return cell.gates
