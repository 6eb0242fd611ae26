"""What `scan` finds in a step, in words."""

import math
from collections.abc import Iterable
from typing import Any

import jax

from seqjax.fast_scan.door import Step, as_array, refuse_side_effects, split_arrays, trace_step
from seqjax.fast_scan.jaxprs import (
    Eqn,
    Jaxpr,
    Var,
    flatten,
    is_float,
    names_axes,
    num_bytes,
    shown,
    struct,
    variables,
)
from seqjax.fast_scan.keeping import CHEAP, plan_gradient
from seqjax.fast_scan.kinds import NAMES, components
from seqjax.fast_scan.stepgraph import PRODUCTS, StepGraph, read_step
from seqjax.types import Params, State


def explain(step: Step, params: Params, state: State, x: Any) -> str:
    """What `scan` finds in a step, as text: hoisted, deferred, kept, and what could be parallel in time.

    Args:
      step: as in `scan`.
      params: as in `scan`.
      state: as in `scan`.
      x: the input of one step, without the time axis.

    Returns:
      Lines to print. Sizes are per time step.
    """
    arrays, join = split_arrays(params)
    state, x = jax.tree.map(as_array, (state, x))
    closed, state, _ = trace_step(lambda a, s, x: step(join(a), s, x), arrays, state, x)
    refuse_side_effects(closed)
    flat, consts = flatten(closed)
    num_fixed = len(consts) + len(arrays)
    graph = read_step(flat, num_fixed, len(jax.tree.leaves(state)))
    lines = [f"hoisted   {_product(e)}" for e in _products(graph.hoist.eqns)]
    lines += [f"deferred  {_product(d.eqn)}" for d in graph.deferred]
    lines += [
        f"in the loop, its gradient summed step by step: {name} with"
        f" {shown(v, short=False)}: not a product of a loop value and one parameter"
        for name, v in _accumulated(graph)
    ]
    inputs = [v for v in flat.invars if is_float(v)]
    for keep in ("gates", "products"):
        try:
            kept = plan_gradient(graph, keep, inputs).kept
        except Exception as error:  # whatever JAX raises
            lines.append(f"its derivative cannot be read, and is that of lax.scan: {error}")
            break
        values = [*kept.values, *kept.hoisted]
        listed = ", ".join(map(shown, values)) or "nothing"
        lines.append(f"kept for keep={keep!r}: {sum(map(num_bytes, values)):,} bytes: {listed}")
    lines += _kinds(flat, num_fixed, state)
    if names_axes(closed):
        lines.append("speaks of a named axis: runs as lax.scan")
    if not graph.deferred:
        lines.append("no product of the state and a parameter: runs as lax.scan")
    return "\n".join(lines)


def _kinds(flat: Jaxpr, num_fixed: int, state: State) -> list[str]:
    """How each part of the state depends on itself, in the order in which they can be computed."""
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state)]
    lines = []
    for part in components(flat, num_fixed, len(paths)):
        names = ", ".join(f"state{paths[i]}" for i in part.leaves)
        ways = ("at once", "a linear scan", "by parallel='newton'", "by parallel='newton'")
        why = f": {part.reason}" if part.reason else ""
        lines.append(f"in time   {names}: {NAMES[part.kind]}, {ways[part.kind]}{why}")
    return lines


def _accumulated(graph: StepGraph) -> list[tuple[str, Var]]:
    """Weights that the loop reads in other ways than by a deferred product, and by what."""
    deferred = [id(d.eqn) for d in graph.deferred]
    return [
        (eqn.primitive.name, v)
        for eqn in graph.body.eqns
        if id(eqn) not in deferred and eqn.primitive.name not in (*CHEAP, *PRODUCTS)
        for v in variables(eqn.invars)
        if v in graph.fixed and min(struct(v).shape, default=1) > 1
    ]


def _products(eqns: Iterable[Eqn]) -> list[Eqn]:
    return [e for e in eqns if e.primitive.name in PRODUCTS]


def _product(eqn: Eqn) -> str:
    a, b = map(shown, eqn.invars)
    text = f"{a} x {b} -> {shown(eqn.outvars[0])}"
    if eqn.primitive.name != "dot_general":
        return f"{eqn.primitive.name} {text}"
    shape = struct(eqn.invars[0]).shape
    contracted = math.prod(shape[i] for i in eqn.params["dimension_numbers"][0][0])
    return f"{text}, {2 * contracted * math.prod(struct(eqn.outvars[0]).shape):,} operations"
