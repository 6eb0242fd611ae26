"""How many iterations Newton's method takes, against the scale of the recurrent weights and T."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.parallel_in_time.descent import descend
from seqjax.cells import CELLS
from seqjax.diagnose import lyapunov_exponents
from seqjax.fast_scan.scan import scan_with_report
from seqjax.recurrence.unroll import unroll
from seqjax.tasks.adding import adding_le
from seqjax.types import Array, Cell, Params

HIDDEN, INPUTS, BATCH = 16, 8, 1
MEASURED = 500  # steps of the Lyapunov exponent, after as many that are not counted


def at_initialisation(name: str, scale: float, lengths: tuple[int, ...], key: Array) -> dict:
    """The row of a cell whose recurrent weights are `scale` times those that it starts with."""
    cell = CELLS[name](HIDDEN)
    params = cell.init(jax.random.fold_in(key, 0), INPUTS)
    params = {n: scale * a if n in ("u", "u_n", "a", "p", "v") else a for n, a in params.items()}
    return _row(cell, params, INPUTS, lengths, key)


def after_training(name: str, num_steps: int, lengths: tuple[int, ...], key: Array) -> dict:
    """The row of a cell that has learnt the adding problem of 50 steps as far as it does in that time."""
    cell = CELLS[name](HIDDEN)
    params, loss = _trained(cell, num_steps, key)
    return {"loss": loss, **_row(cell, params, 2, lengths, key)}


def _trained(cell: Cell, num_steps: int, key: Array) -> tuple[Params, float]:
    init_key, head_key, data_key = jax.random.split(key, 3)
    params = {
        "cell": cell.init(init_key, 2),
        "head": jax.random.normal(head_key, (cell.output_size,)) / cell.output_size**0.5,
        "bias": jnp.ones(()),
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.003))

    def loss_of(params: Params, key: Array) -> Array:
        episode = adding_le(key, 32, 50)
        _, ys = unroll(cell, params["cell"], episode.inputs)
        return jnp.mean((ys[-1] @ params["head"] + params["bias"] - episode.targets) ** 2)

    params, losses = descend(loss_of, params, optimizer, data_key, num_steps)
    return params["cell"], float(losses[-100:].mean())


def _row(
    cell: Cell, params: Params, input_size: int, lengths: tuple[int, ...], key: Array
) -> dict[str, Any]:
    state = cell.initial_state((BATCH,))
    xs_key = jax.random.fold_in(key, 1)
    row: dict[str, Any] = {"T": list(lengths), "iterations": [], "fell_back": [], "error": []}
    for num_steps in lengths:
        xs = jax.random.normal(xs_key, (num_steps, BATCH, input_size))
        solve = jax.jit(partial(scan_with_report, cell.step, batch_axes=1))
        _, ys, report = solve(params, state, xs)
        _, expected = jax.jit(_plain(cell))(params, state, xs)
        row["iterations"].append(int(np.max(report.iterations)))
        row["fell_back"].append(bool(np.any(report.fell_back)))
        row["error"].append(float(np.max(np.abs(np.asarray(ys) - np.asarray(expected)))))
    xs = jax.random.normal(xs_key, (2 * MEASURED, BATCH, input_size))
    exponents = lyapunov_exponents(cell, params, xs, state, burn_in=MEASURED)
    return {**row, "lyapunov": float(exponents[0, 0])}


def _plain(cell: Cell) -> Callable:
    return lambda params, state, xs: lax.scan(partial(cell.step, params), state, xs)
