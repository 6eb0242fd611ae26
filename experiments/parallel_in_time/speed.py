"""Seconds, bytes, work and depth of one gradient against T: step by step, associatively, in blocks, by Newton."""

import statistics
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.parallel_in_time.counts import counts_of
from seqjax.cells import CELLS
from seqjax.fast_scan.jaxprs import flatten
from seqjax.fast_scan.kinds import AFFINE, components
from seqjax.fast_scan.parallel import solve
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params

WAYS = ("lax.scan", "unroll", "steps", "blocks", "associative", "newton")
LONGEST_NEWTON = 10_000


def measured(name: str, num_steps: int, key: Array, *, batch: int, size: int, calls: int) -> dict:
    """The row of a cell at a length: of each way, the median of calls made in turn."""
    cell = CELLS[name](size)
    init_key, xs_key = jax.random.split(key)
    params = cell.init(init_key, size)
    xs = jax.random.normal(xs_key, (num_steps, batch, size))
    programs: dict[str, Any] = {}
    row: dict[str, Any] = {}
    for way in ways_of(cell, params, xs):
        gradient = jax.jit(jax.grad(partial(_loss, cell, way), argnums=(0, 1)))
        start = time.perf_counter()
        programs[way] = gradient.lower(params, xs).compile()
        seconds = time.perf_counter() - start
        counts = counts_of(programs[way].as_text())
        row[way] = {
            "compile": seconds,
            "work": counts.work,
            "depth": counts.depth,
            "bytes": programs[way].memory_analysis().temp_size_in_bytes,
        }
    times: dict[str, list[float]] = {way: [] for way in programs}
    for _ in range(calls + 1):
        for way, run in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(params, xs))
            times[way].append(time.perf_counter() - start)
    for way, found in times.items():
        row[way]["seconds"] = statistics.median(found[1:])
    return row


def ways_of(cell: Cell, params: Params, xs: Array) -> tuple[str, ...]:
    """Linear scans only of what is affine, and Newton's method only where it is not."""
    flat, fixed, state = _flat(cell, params, xs)
    kinds = [part.kind for part in components(flat, len(fixed), len(state))]
    if max(kinds) <= AFFINE:
        return tuple(way for way in WAYS if way != "newton")
    return ("lax.scan", "unroll", *(["newton"] if len(xs) <= LONGEST_NEWTON else []))


def _flat(cell: Cell, params: Params, xs: Array) -> tuple[Any, list, list]:
    """The step's equations, and the values of its parameters and of its first state."""
    state = cell.initial_state(xs.shape[1:-1])
    flat, consts = flatten(jax.make_jaxpr(cell.step)(params, state, xs[0]))
    return flat, [*consts, *jax.tree.leaves(params)], jax.tree.leaves(state)


def _solve(cell: Cell, method: str, params: Params, xs: Array, *, newton: bool) -> Array:
    flat, fixed, state = _flat(cell, params, xs)
    return solve(flat, fixed, state, [xs], newton=newton, method=method, batch_axes=1)[1][0]


def _loss(cell: Cell, way: str, params: Params, xs: Array) -> Array:
    match way:
        case "lax.scan":
            state = cell.initial_state(xs.shape[1:-1])
            ys = lax.scan(partial(cell.step, params), state, xs)[1]
        case "unroll":
            ys = unroll(cell, params, xs, parallel="never")[1]
        case "newton":
            ys = _solve(cell, "blocks", params, xs, newton=True)
        case _:
            ys = _solve(cell, way, params, xs, newton=False)
    return jnp.mean(ys**2)
