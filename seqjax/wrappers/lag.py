"""Functions from a cell to a cell that reaches further back: leaky units, skips through time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.errors import InputError, check_fraction, check_positive
from seqjax.types import Array, Cell, Params, State, check_cell
from seqjax.wrappers.randomness import Run, shows_its_h, wrap_step


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
    check_cell("leaky", cell)
    check_fraction("alpha", alpha)
    if not shows_its_h(cell):
        raise InputError("leaky takes a cell whose output is its h, such as rnn(50), got another.")

    def wrap(run: Run) -> Run:
        def step(params: Params, state: State, x: Array) -> tuple[State, Array]:
            candidate, _ = run(params, state, x)
            state = jax.tree.map(lambda old, new: alpha * old + (1 - alpha) * new, state, candidate)
            return state, state.h

        return step

    step, noise = wrap_step(cell, wrap)
    return Cell(cell.init, cell.initial_state, step, cell.output_size, noise=noise)


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
    check_cell("time_skip", cell)
    check_positive("lag", lag)

    def init(key: Array, input_size: int) -> Params:
        return cell.init(key, input_size + cell.output_size)

    def initial_state(batch_shape: tuple[int, ...] = ()) -> TimeSkipState:
        past = jnp.zeros((*batch_shape, lag, cell.output_size), jnp.float32)
        return TimeSkipState(cell.initial_state(batch_shape), past)

    def wrap(run: Run) -> Run:
        def step(params: Params, state: TimeSkipState, x: Array) -> tuple[TimeSkipState, Array]:
            x = jnp.concatenate([x, state.past[..., 0, :]], axis=-1)
            inner, y = run(params, state.inner, x)
            past = jnp.concatenate([state.past[..., 1:, :], y[..., None, :]], axis=-2)
            return TimeSkipState(inner, past), y

        return step

    step, noise = wrap_step(cell, wrap, lambda size: size + cell.output_size)
    return Cell(init, initial_state, step, cell.output_size, noise=noise)
