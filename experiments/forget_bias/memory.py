"""How much of a cell's content is left after a lag, before anything is learnt."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.forget_bias.tasks import Task, bias_init, make_cell
from experiments.forget_bias.training import Setting
from seqjax.cells.lstm import gates
from seqjax.types import Array

SEEDS, ROWS = 5, 20


def retained(setting: Setting, task: Task, labels: tuple[str, ...], key: Array) -> dict[str, Any]:
    """∏ f over 1 to T steps of the task, the mean over units, sequences and seeds.

    This product of forget gates is the direct part of ∂c_t/∂c_0: the part that does not pass through
    the gates.

    Returns:
      A row: `labels`; `measured` `[labels][steps]`; and `expected`, the same for f = σ(b) throughout.
    """

    def products(biases: Array, key: Array) -> Array:
        cell = make_cell("LSTM", setting.hidden)
        cell_key, task_key = jax.random.split(key)
        xs = task.draw(task_key, ROWS, task.length).inputs
        params = cell.init(cell_key, xs.shape[-1]) | {"b": biases.reshape(-1)}

        def step(state: Any, x: Array) -> tuple[Any, Array]:
            f = gates(params, state, x).f
            return cell.step(params, state, x)[0], f

        _, f = jax.lax.scan(step, cell.initial_state((ROWS,)), xs)
        return jnp.cumprod(f, axis=0).mean(axis=(1, 2))

    run = jax.jit(jax.vmap(products))
    measured, expected = [], []
    for label in labels:
        draw = partial(bias_init(label, task.length), shape=(4, setting.hidden))
        biases = jax.vmap(draw)(jax.random.split(key, SEEDS))
        by_seed = run(biases, jax.random.split(key, SEEDS))  # [SEEDS, T]
        measured.append(np.asarray(by_seed.mean(axis=0), np.float64).tolist())
        f = jax.nn.sigmoid(biases[:, 1]).reshape(-1)
        powers = f ** (1 + jnp.arange(len(measured[-1])))[:, None]
        expected.append(np.asarray(powers.mean(axis=1), np.float64).tolist())
    return {"labels": list(labels), "measured": measured, "expected": expected}
