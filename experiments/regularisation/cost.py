"""What noise and norms cost: one gradient of an LSTM with each, in turn.

    python -m experiments.regularisation.cost

takes a minute or two. 32 rows, 128 steps, 128 inputs and units; the gradient of all parameters and inputs, masks
drawn in the same program; medians of 60 interleaved calls. Where torch is installed, the same in torch after it.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
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
from seqjax.search.engines import cores
from seqjax.types import Array, Cell, Params

ROWS, STEPS, SIZE = 32, 128, 128
CALLS, TORCH_CALLS = 60, 20


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


def gradients() -> dict[str, Callable[[], Any]]:
    """For each of `ways` a call that makes one gradient."""
    xs_key, init_key, key = jax.random.split(jax.random.key(0), 3)
    xs = jax.random.normal(xs_key, (STEPS, ROWS, SIZE))
    calls: dict[str, Callable[[], Any]] = {}
    for name, (cell, noisy) in ways().items():
        params = cell.init(init_key, SIZE)
        gradient = jax.jit(jax.grad(partial(loss, cell, noisy), argnums=(0, 1)))
        compiled = gradient.lower(params, xs, key).compile()
        calls[name] = lambda run=compiled, params=params: jax.block_until_ready(  # type: ignore[misc]
            run(params, xs, key)
        )
    return calls


def timed(calls: dict[str, Callable[[], Any]], rounds: int) -> str:
    """A table of milliseconds, and the median ratio to the first."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    lines, first = [], next(iter(times.values()))
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds[1:], first[1:], strict=True)]
        median = 1000 * statistics.median(seconds[1:])
        lines.append([name, f"{median:.1f}", f"{statistics.median(ratios):.2f}"])
    return table(["one gradient", "ms", "ratio"], lines)


def main() -> None:
    print(timed(gradients(), CALLS))
    if importlib.util.find_spec("torch"):
        import torch

        from experiments.regularisation import torch_cost

        torch.set_num_threads(len(cores()))
        print("\nin torch, its own layer, and loops where that takes no noise")
        print(timed(torch_cost.gradients(SIZE, (STEPS, ROWS, SIZE)), TORCH_CALLS))


if __name__ == "__main__":
    main()
