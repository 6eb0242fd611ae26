"""One block of `seqjax.scan`'s loops: some steps in a row, often all of them.

Forward, it hoists the products of its inputs, runs the step, and keeps what the way back will read.
Backward, its loop carries the cotangent of the state; one product per weight after that loop gives
the weight's gradient.

What outlives a block is written straight into stacks of all steps, and read from there: a loop over
blocks that hands on each block's own stacks would copy all of them, there and back.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.products import is_plain_product, rows_product, sum_of_outer_products
from seqjax.fast_scan.stepgraph import Deferred, StepGraph, evaluate, is_float
from seqjax.types import Array


class Loop(NamedTuple):
    """A step and how to run it."""

    graph: StepGraph
    reverse: bool
    unroll: int
    block: int  # steps per block; a multiple of it and a rest make up T
    rerun: bool  # whether blocks are run again in the backward loop


class Part(NamedTuple):
    """Steps `start ... start + size - 1` of stacks `[T, ...]`."""

    start: Any  # an int, or a traced one
    size: int

    def of(self, stack: Array) -> Array:
        if self.size == len(stack):
            return stack
        return lax.dynamic_slice_in_dim(stack, self.start, self.size)

    def put(self, stack: Array, part: Array) -> Array:
        """The stack with `part` in its place."""
        if self.size == len(stack):
            return part
        return lax.dynamic_update_slice_in_dim(stack, part, self.start, 0)


def written_by(graph: StepGraph) -> tuple[list, list[int]]:
    """What the forward loop stacks, beside the hoisted products: ys and, by place, what is kept.

    What is kept and is an output of the step as well is written once.
    """
    outputs = graph.ends[1]
    there = {v for v in outputs if isinstance(v, jex.Var)} | {v for v, _ in graph.shifted}
    fresh = [i for i, v in enumerate(graph.kept) if v not in there]
    return [*outputs, *(graph.kept[i] for i in fresh)], fresh


def block_forward(
    loop: Loop, step: Callable, fix: dict, state: list, xs: list, stacks: tuple, part: Part
) -> tuple[list, tuple[list, list]]:
    """Runs the steps `part`, whose inputs are xs `[size, ...]`.

    `step` is the graph's forward step, or a faster form of it. `stacks`, of all steps, are those of
    `written_by` and of the hoisted products that the backward loop reads; returned with the part's.
    """
    graph = loop.graph
    hoisted = hoist_products(graph, fix, xs)
    by_var = {**dict(zip(graph.xs, xs, strict=True)), **hoisted}
    fixed = [fix[v] for v in graph.fixed]
    count = len(state) + len(graph.ends[1])
    _, fresh = written_by(graph)

    def body(state: list, at_t: list) -> tuple[list, list]:
        out = step(*fixed, *at_t, *state)
        return out[: len(state)], [*out[len(state) : count], *(out[count + i] for i in fresh)]

    written, kept_hoisted = stacks
    sequence = [by_var[v] for v in graph.sequence]
    state, written = _scan_into(body, state, sequence, written, part, loop)
    kept_hoisted = [
        part.put(stack, hoisted[v])
        for stack, v in zip(kept_hoisted, graph.kept_hoisted, strict=True)
    ]
    return state, (written, kept_hoisted)


def stacks_by_variable(loop: Loop, state: list, xs: list, stacks: tuple[list, list]) -> dict:
    """Stacks of all that the backward loop may read, by variable; `state` is that before the first
    step."""
    graph = loop.graph
    written, kept_hoisted = stacks
    atoms, _ = written_by(graph)
    by_var = {v: a for v, a in zip(atoms, written, strict=True) if isinstance(v, jex.Var)}
    found = dict(zip(graph.xs, xs, strict=True))
    found |= dict(zip(graph.kept_hoisted, kept_hoisted, strict=True))
    found |= {v: by_var[v] for v in graph.kept if v in by_var}
    for v, i in graph.shifted:
        first, rest = state[graph.state.index(v)][None], written[i]
        found[v] = jnp.concatenate([rest[1:], first] if loop.reverse else [first, rest[:-1]])
    return found


def block_backward(
    loop: Loop,
    fix: dict,
    weights: list,
    stacks: dict,
    xs: list,
    ct_state: list,
    ct_ys: list,
    part: Part,
) -> tuple[list, dict, list]:
    """Returns cotangents: of the float state before the block, of fixed values, of float xs.

    `weights` are those of `turn_back`, `stacks` and `ct_ys` of all steps, `xs` of the part's.
    """
    graph, back = loop.graph, loop.graph.backward
    fixed = {v: fix[v] for v in graph.fixed}
    wanted = graph.replay.reads() | {*back.reads}
    read = {v: a for v, a in stacks.items() if v in wanted}

    # Results of a step are stacked where a product or an input waits for them; the rest is summed.
    emitted = sorted({i for i in (*back.sequence, *back.deferred) if i is not None})
    finish = dict(zip(graph.fixed, back.finish, strict=True))
    summed = {
        v: i
        for v, i in zip(graph.fixed, back.fixed, strict=True)
        if i is not None and (i not in emitted or finish[v])
    }
    operands = [v for v in {d.operand: None for d in graph.deferred} if v not in stacks]

    def body(carry: tuple, at_t: tuple) -> tuple[tuple, tuple]:
        (ct_state, sums), (read_t, ct_y) = carry, at_t
        value = {**fixed, **dict(zip(read, read_t, strict=True))}
        inputs = [value[v] if v in value else zeros(v) for v in graph.replay.inputs]
        value |= dict(zip(graph.replay.outputs, graph.replay.function(*inputs), strict=True))
        results = back.function([value[v] for v in back.reads], weights, [*ct_state, *ct_y])
        ct_state = [
            zeros(v) if i is None else results[i]
            for v, i in zip(graph.state, back.state, strict=True)
            if is_float(v)
        ]
        sums = [s + results[i] for s, i in zip(sums, summed.values(), strict=True)]
        return (ct_state, sums), ([results[i] for i in emitted], [value[v] for v in operands])

    carry = (ct_state, [zeros(end.inputs[0] if (end := finish[v]) else v) for v in summed])
    (ct_state, sums), (results, operand_stacks) = _scan_from(
        body, carry, (list(read.values()), ct_ys), part, loop
    )
    stacked = dict(zip(emitted, results, strict=True))
    multiplied = dict(zip(operands, operand_stacks, strict=True))

    ct_fix = {
        v: end.function(total)[0] if (end := finish[v]) else total
        for v, total in zip(summed, sums, strict=True)
    }
    for v, i in zip(graph.fixed, back.fixed, strict=True):
        if i in stacked and v not in summed:
            ct_fix[v] = jnp.sum(stacked[i], 0)
    for product, i in zip(graph.deferred, back.deferred, strict=True):
        if i is not None:
            v = product.operand
            operand = multiplied[v] if v in multiplied else part.of(stacks[v])
            _accumulate(ct_fix, product.weight, _weight_gradient(product, operand, stacked[i], fix))
    ct_sequence = {
        v: stacked[i] for v, i in zip(graph.sequence, back.sequence, strict=True) if i is not None
    }
    return ct_state, ct_fix, _unhoist(graph, fix, xs, ct_sequence, ct_fix)


def _scan_into(
    body: Callable, carry: Any, xs: list, stacks: list, part: Part, loop: Loop
) -> tuple[Any, list]:
    """`lax.scan` over xs `[size, ...]`, its outputs written at `part` of stacks `[T, ...]`."""
    run = partial(lax.scan, length=part.size, reverse=loop.reverse, unroll=loop.unroll)
    if all(part.size == len(stack) for stack in stacks):
        return run(body, carry, xs)

    def write(both: tuple, at_t: tuple) -> tuple[tuple, None]:
        (carry, stacks), (t, x) = both, at_t
        carry, outputs = body(carry, x)
        put = partial(lax.dynamic_update_index_in_dim, index=t, axis=0)
        return (carry, [put(a, b) for a, b in zip(stacks, outputs, strict=True)]), None

    return run(write, (carry, stacks), (part.start + jnp.arange(part.size), xs))[0]


def _scan_from(
    body: Callable, carry: Any, stacks: tuple[list, list], part: Part, loop: Loop
) -> tuple[Any, Any]:
    """`lax.scan`, the other way in time, over `part` of stacks `[T, ...]`."""
    run = partial(lax.scan, length=part.size, reverse=not loop.reverse, unroll=loop.unroll)
    if all(part.size == len(stack) for stack in jax.tree.leaves(stacks)):
        return run(body, carry, stacks)

    def read(carry: Any, t: Array) -> tuple[Any, Any]:
        at_t = partial(lax.dynamic_index_in_dim, index=t, keepdims=False)
        return body(carry, jax.tree.map(at_t, stacks))

    return run(read, carry, part.start + jnp.arange(part.size))


def hoist_products(graph: StepGraph, fix: dict, xs: list) -> dict[Any, Array]:
    """The hoisted products of all steps, `[steps, ...]` each."""
    stacks = dict(zip(graph.xs, xs, strict=True))
    for eqn in graph.hoist.eqns:
        operands = [v for v in eqn.invars if isinstance(v, jex.Var)]
        if is_plain_product(eqn) and operands[0] in stacks and operands[1] in fix:
            a, b = stacks[operands[0]], fix[operands[1]]
            stacks[eqn.outvars[0]] = rows_product(a, b, eqn.params["precision"])
            continue

        def one(moving: dict, eqn: Any = eqn) -> list[Array]:
            value = {**fix, **moving}
            inputs = [value[v] if isinstance(v, jex.Var) else v.val for v in eqn.invars]
            return evaluate(eqn, inputs)

        moving = {v: stacks[v] for v in operands if v in stacks}
        names = list(moving)
        results = jax.vmap(lambda *a, names=names, one=one: one(dict(zip(names, a, strict=True))))(
            *moving.values()
        )
        stacks.update(zip(eqn.outvars, results, strict=True))
    return {v: stacks[v] for v in graph.hoist.outputs}


def _unhoist(graph: StepGraph, fix: dict, xs: list, ct_sequence: dict, ct_fix: dict) -> list[Array]:
    """Returns the cotangents of float xs; adds those of fixed values to `ct_fix`."""
    cts = {v: ct_sequence[v] for v in graph.xs if v in ct_sequence}
    if any(v in ct_sequence for v in graph.hoist.outputs):
        used = graph.hoist.reads()
        fixed = [v for v in graph.fix.outputs if v in used]

        def run(*inputs: Array) -> list[Array]:
            named = {**fix, **dict(zip(fixed, inputs, strict=False))}
            hoisted = hoist_products(graph, named, list(inputs[len(fixed) :]))
            return [hoisted[v] for v in graph.hoist.outputs if v in ct_sequence]

        hoist_cts = [ct_sequence[v] for v in graph.hoist.outputs if v in ct_sequence]
        found = pull_back(run, [*(fix[v] for v in fixed), *xs], hoist_cts)
        for v, ct in zip([*fixed, *graph.xs], found, strict=True):
            if ct is not None:
                _accumulate(cts if v in graph.xs else ct_fix, v, ct)
    return [cts.get(v, jnp.zeros_like(x)) for v, x in zip(graph.xs, xs, strict=True) if is_float(v)]


def _weight_gradient(product: Deferred, operands: Array, cts: Array, fix: dict) -> Array:
    """The gradient of a weight over all steps, by one product."""
    eqn, operand, weight = product
    if is_plain_product(eqn) and eqn.invars[1] is weight:
        return sum_of_outer_products(operands, cts, eqn.params["precision"])

    def multiply(w: Array) -> Array:
        return jax.vmap(lambda a: evaluate(eqn, [a if v is operand else w for v in eqn.invars])[0])(
            operands
        )

    struct = jax.ShapeDtypeStruct(fix[weight].shape, fix[weight].dtype)
    return jax.linear_transpose(multiply, struct)(cts)[0]


def _accumulate(cts: dict, key: Any, ct: Array) -> None:
    cts[key] = cts[key] + ct if key in cts else ct


def pull_back(function: Callable, inputs: list, cts: list) -> list[Array | None]:
    """Cotangents of the float inputs of `function(*inputs)`, None for the others.

    `cts` belong to the function's float outputs.
    """
    places = [i for i, a in enumerate(inputs) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def run(*floats: Array) -> list[Array]:
        merged = list(inputs)
        for i, a in zip(places, floats, strict=True):
            merged[i] = a
        return [a for a in function(*merged) if jnp.issubdtype(a.dtype, jnp.inexact)]

    _, transpose = jax.vjp(run, *(inputs[i] for i in places))
    found = dict(zip(places, transpose(cts), strict=True))
    return [found.get(i) for i in range(len(inputs))]


def zeros(atom: Any) -> Array:
    return jnp.zeros(atom.aval.shape, atom.aval.dtype)
