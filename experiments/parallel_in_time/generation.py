"""Tokens a second in generation: a state is all that a step needs, so that the thousandth costs what the first does."""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.cells import CELLS
from seqjax.decode.sampling import generate
from seqjax.types import Array, Params, State

VOCABULARY = 64


def measured(
    name: str, key: Array, *, lengths: tuple[int, ...], streams: int, size: int, calls: int
) -> dict[str, Any]:
    """For each length, tokens a second of all streams together; medians of calls made in turn."""
    cell = CELLS[name](size)
    keys = jax.random.split(key, 4)
    params = {
        "embedding": jax.random.normal(keys[0], (VOCABULARY, size)),
        "cell": cell.init(keys[1], size),
        "head": jax.random.normal(keys[2], (cell.output_size, VOCABULARY)) / cell.output_size**0.5,
    }
    prime, state = jnp.zeros((streams, 1), jnp.int32), cell.initial_state((streams,))

    def write(params: Params, length: int) -> Array:
        def step(state: State, token: Array) -> tuple[State, Array]:
            state, y = cell.step(params["cell"], state, params["embedding"][token])
            return state, y @ params["head"]

        return generate(step, state, prime, keys[3], length=length)

    programs = {n: jax.jit(write, static_argnums=1).lower(params, n).compile() for n in lengths}
    times: dict[int, list[float]] = {n: [] for n in lengths}
    for _ in range(calls + 1):
        for n, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(params))
            times[n].append(time.perf_counter() - start)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(state)) // streams
    return {
        "T": list(lengths),
        "tokens_per_second": [streams * n / statistics.median(times[n][1:]) for n in lengths],
        "state": numbers,
    }
