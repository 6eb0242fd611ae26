"""What noise and norms cost: one gradient of an LSTM with each, in turn.

    python -m experiments.regularisation.cost

takes a minute. 32 rows, 128 steps, 128 inputs and units; the gradient of all parameters and inputs, masks drawn
in the same program; medians of 60 interleaved calls.
"""

import statistics
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.common.tables import table
from seqjax import (
    candidate_dropout,
    lstm,
    naive_dropout,
    unroll,
    variational_dropout,
    weight_drop,
    zoneout,
)
from seqjax.cells.layer_norm import lstm_layer_norm
from seqjax.types import Array, Cell, Params

ROWS, STEPS, SIZE, CALLS = 32, 128, 128, 60


def ways() -> dict[str, tuple[Cell, bool]]:
    """Cells by name, and whether their noise is drawn."""
    return {
        "none": (lstm(SIZE), False),
        "weight drop": (weight_drop(lstm(SIZE), 0.5), True),
        "variational": (variational_dropout(lstm(SIZE), inputs=0.3, states=0.3), True),
        "candidate": (candidate_dropout(lstm(SIZE), 0.3), True),
        "zoneout": (zoneout(lstm(SIZE), {"c": 0.5, "h": 0.05}), True),
        "naive": (naive_dropout(lstm(SIZE), 0.3), True),
        "layer norm": (lstm_layer_norm(SIZE), False),
    }


def loss(cell: Cell, noisy: bool, params: Params, xs: Array, key: Array) -> Array:
    return jnp.mean(unroll(cell, params, xs, key=key if noisy else None)[1] ** 2)


def main() -> None:
    """Prints milliseconds, and the median ratio to the LSTM without."""
    xs_key, init_key, key = jax.random.split(jax.random.key(0), 3)
    xs = jax.random.normal(xs_key, (STEPS, ROWS, SIZE))
    runs: dict[str, tuple[Any, Params]] = {}
    for name, (cell, noisy) in ways().items():
        params = cell.init(init_key, SIZE)
        gradient = jax.jit(jax.grad(partial(loss, cell, noisy), argnums=(0, 1)))
        runs[name] = gradient.lower(params, xs, key).compile(), params
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(CALLS + 1):
        for name, (run, params) in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(params, xs, key))
            times[name].append(time.perf_counter() - start)
    lines = []
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds[1:], times["none"][1:], strict=True)]
        median = 1000 * statistics.median(seconds[1:])
        lines.append([name, f"{median:.1f}", f"{statistics.median(ratios):.2f}"])
    print(table(["one gradient", "ms", "ratio"], lines))


if __name__ == "__main__":
    main()
