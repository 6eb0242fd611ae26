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
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.jaxprs import Atom, Eqn, Var, evaluate, variables, zeros
from seqjax.fast_scan.keeping import Kept, Plan
from seqjax.fast_scan.products import is_plain_product, rows_product, sum_of_outer_products
from seqjax.fast_scan.stepgraph import Deferred, StepGraph
from seqjax.types import Array

Values = dict[Var, Array]


class Loop(NamedTuple):
    """A step and how to run it."""

    graph: StepGraph
    kept: Kept
    num_steps: int  # T, or a symbol for it
    block: int  # steps per block; a multiple of it and a rest make up T
    reverse: bool
    unroll: int
    rerun: bool  # whether blocks are run again in the backward loop


class Part(NamedTuple):
    """Steps `start ... start + size - 1` of stacks `[T, ...]`."""

    start: Any  # an int, or a traced one
    size: int

    def of(self, stack: Array) -> Array:
        if self.size == stack.shape[0]:
            return stack
        return lax.dynamic_slice_in_dim(stack, self.start, self.size)

    def put(self, stack: Array, part: Array) -> Array:
        """The stack with `part` in its place."""
        if self.size == stack.shape[0]:
            return part
        return lax.dynamic_update_slice_in_dim(stack, part, self.start, 0)


class Inputs(NamedTuple):
    """What the steps of a block read."""

    fixed: Values  # the same at every step, of any shapes
    state: list[Array]  # [...], before the first of the steps
    xs: list[Array]  # [size, ...]


class Stacks(NamedTuple):
    """What the forward loop writes, of all steps."""

    written: list[Array]  # [T, ...], in the order of `written_by`
    hoisted: list[Array]  # [T, ..., N], the hoisted products that the backward loop reads


class BlockCotangents(NamedTuple):
    """What the backward loop over a block gives."""

    state: list[Array]  # [...], of the perturbed leaves of the state before the block
    fixed: Values  # summed over the block's steps, shaped as the values are
    xs: list[Array]  # [size, ...], of the perturbed leaves


def written_by(graph: StepGraph, kept: Kept) -> tuple[list[Atom], list[int]]:
    """What the forward loop stacks, beside the hoisted products: ys and, by place, what is kept.

    What is kept and is an output of the step as well is written once.
    """
    stacked = {*variables(graph.ys)} | {v for v, _ in kept.shifted}
    fresh = [i for i, v in enumerate(kept.values) if v not in stacked]
    return [*graph.ys, *(kept.values[i] for i in fresh)], fresh


def block_forward(
    loop: Loop, step: Callable, inputs: Inputs, stacks: Stacks, part: Part
) -> tuple[list[Array], Stacks]:
    """Runs the steps `part`; returns the state after them, and the stacks with the part's results.

    `step` makes `(fixed, sequence, state) -> (new state, y, kept)`.
    """
    graph, kept = loop.graph, loop.kept
    hoisted = hoist_products(graph, inputs.fixed, inputs.xs)
    by_var = {**dict(zip(graph.xs, inputs.xs, strict=True)), **hoisted}
    fixed = [inputs.fixed[v] for v in graph.fixed]
    num_state = len(graph.state)
    count = num_state + len(graph.ys)
    _, fresh = written_by(graph, kept)

    def body(state: list, at_t: list) -> tuple[list, list]:
        out = step(*fixed, *at_t, *state)
        return out[:num_state], [*out[num_state:count], *(out[count + i] for i in fresh)]

    sequence = [by_var[v] for v in graph.sequence]
    state, written = _scan_into(body, inputs.state, sequence, stacks.written, part, loop)
    stacked = zip(stacks.hoisted, kept.hoisted, strict=True)
    return state, Stacks(written, [part.put(stack, hoisted[v]) for stack, v in stacked])


def stacks_by_variable(loop: Loop, state: list[Array], xs: list[Array], stacks: Stacks) -> Values:
    """Stacks of all that the backward loop may read, by variable.

    `state` is that before the first step, `xs` are `[T, ...]`.
    """
    graph, kept = loop.graph, loop.kept
    atoms, _ = written_by(graph, kept)
    written = {v: a for v, a in zip(atoms, stacks.written, strict=True) if isinstance(v, Var)}
    by_var = dict(zip(graph.xs, xs, strict=True))
    by_var |= dict(zip(kept.hoisted, stacks.hoisted, strict=True))
    by_var |= {v: written[v] for v in kept.values if v in written}
    for v, i in kept.shifted:
        first, after = state[graph.state.index(v)][None], stacks.written[i]
        before = [after[1:], first] if loop.reverse else [first, after[:-1]]
        by_var[v] = jnp.concatenate(before)
    return by_var


def block_backward(
    loop: Loop,
    plan: Plan,
    inputs: Inputs,
    weights: list[Array],
    stacks: Values,
    cts: tuple[list[Array], list[Array]],
    part: Part,
) -> BlockCotangents:
    """The cotangents of a block's inputs.

    `weights` are those of `turn_back`; `stacks`, `[T, ...]`, those of `stacks_by_variable`; `cts`
    belong to the perturbed leaves of the state after the block, and of ys `[T, ...]`.
    """
    graph, places, perturbed = loop.graph, plan.backward.places, plan.backward.perturbed
    # Results of a step are stacked where a product or an input waits for them; the rest is summed.
    emitted = sorted({i for i in (*places.sequence, *places.deferred) if i is not None})
    finish = dict(zip(graph.fixed, plan.backward.finish, strict=True))
    summed = {
        v: i
        for v, i in zip(graph.fixed, places.fixed, strict=True)
        if i is not None and (i not in emitted or finish[v])
    }
    operands = [v for v in {d.operand: None for d in graph.deferred} if v not in stacks]
    reads = plan.reads()
    read = {v: a for v, a in stacks.items() if v in reads}
    step_back = _step_back(graph, plan, inputs.fixed, weights, list(read))

    def body(carry: tuple, at_t: tuple) -> tuple[tuple, tuple]:
        (ct_state, sums), (read_t, ct_y) = carry, at_t
        value, results = step_back(read_t, [*ct_state, *ct_y])
        ct_state = [
            zeros(v) if i is None else results[i]
            for v, i in zip(graph.state, places.state, strict=True)
            if v in perturbed
        ]
        sums = [s + results[i] for s, i in zip(sums, summed.values(), strict=True)]
        return (ct_state, sums), ([results[i] for i in emitted], [value[v] for v in operands])

    ct_state, ct_ys = cts
    carry = (ct_state, [zeros(end.inputs[0] if (end := finish[v]) else v) for v in summed])
    (ct_state, sums), (results, operand_stacks) = _scan_from(
        body, carry, (list(read.values()), ct_ys), part, loop
    )
    stacked = dict(zip(emitted, results, strict=True))
    multiplied = dict(zip(operands, operand_stacks, strict=True))

    def operand_of(v: Var) -> Array:
        return multiplied[v] if v in multiplied else part.of(stacks[v])

    ct_fixed = {
        v: end.function(total)[0] if (end := finish[v]) else total
        for v, total in zip(summed, sums, strict=True)
    }
    _add_weight_gradients(ct_fixed, graph, plan, inputs.fixed, stacked, operand_of)
    ct_sequence = {
        v: stacked[i] for v, i in zip(graph.sequence, places.sequence, strict=True) if i is not None
    }
    return BlockCotangents(
        ct_state, ct_fixed, _unhoist(graph, perturbed, inputs, ct_sequence, ct_fixed)
    )


def _step_back(
    graph: StepGraph, plan: Plan, fixed: Values, weights: list[Array], read: list[Var]
) -> Callable[[list[Array], list[Array]], tuple[Values, list[Array]]]:
    """A step of the backward loop: what was kept at t, cotangents -> its values, its results."""
    in_loop = {v: fixed[v] for v in graph.fixed}

    def step_back(kept: list[Array], cts: list[Array]) -> tuple[Values, list[Array]]:
        value = {**in_loop, **dict(zip(read, kept, strict=True))}
        inputs = [value[v] if v in value else zeros(v) for v in plan.replay.inputs]
        value |= dict(zip(plan.replay.outputs, plan.replay.function(*inputs), strict=True))
        reads = [value[v] for v in plan.backward.reads]
        return value, plan.backward.function(reads, weights, cts)

    return step_back


def _add_weight_gradients(
    ct_fixed: Values,
    graph: StepGraph,
    plan: Plan,
    fixed: Values,
    stacked: dict[int, Array],
    operand_of: Callable[[Var], Array],
) -> None:
    """Adds to `ct_fixed` what waited for the end of the loop."""
    places = plan.backward.places
    for v, i in zip(graph.fixed, places.fixed, strict=True):
        if i in stacked and v not in ct_fixed:
            ct_fixed[v] = jnp.sum(stacked[i], 0)
    for product, i in zip(graph.deferred, places.deferred, strict=True):
        if i is not None:
            operands = operand_of(product.operand)
            gradient = _weight_gradient(product, operands, stacked[i], fixed[product.weight])
            _accumulate(ct_fixed, product.weight, gradient)


def _scan_into(
    body: Callable, carry: Any, xs: list, stacks: list, part: Part, loop: Loop
) -> tuple[Any, list]:
    """`lax.scan` over xs `[size, ...]`, its outputs written at `part` of stacks `[T, ...]`."""
    run = partial(lax.scan, reverse=loop.reverse, unroll=loop.unroll)
    if all(part.size == stack.shape[0] for stack in stacks):
        return run(body, carry, xs, length=None if xs else part.size)

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
    run = partial(lax.scan, reverse=not loop.reverse, unroll=loop.unroll)
    leaves = jax.tree.leaves(stacks)
    if all(part.size == stack.shape[0] for stack in leaves):
        return run(body, carry, stacks, length=None if leaves else part.size)

    def read(carry: Any, t: Array) -> tuple[Any, Any]:
        at_t = partial(lax.dynamic_index_in_dim, index=t, keepdims=False)
        return body(carry, jax.tree.map(at_t, stacks))

    return run(read, carry, part.start + jnp.arange(part.size))


def hoist_products(graph: StepGraph, fixed: Values, xs: list[Array]) -> Values:
    """The hoisted products of all steps, `[size, ..., N]` each, of xs `[size, ...]`."""
    stacks = dict(zip(graph.xs, xs, strict=True))
    for eqn in graph.hoist.eqns:
        operands = variables(eqn.invars)
        if is_plain_product(eqn) and operands[0] in stacks and operands[1] in fixed:
            a, b = stacks[operands[0]], fixed[operands[1]]
            stacks[eqn.outvars[0]] = rows_product(a, b, eqn.params["precision"])
            continue

        def one(moving: Values, eqn: Eqn = eqn) -> list[Array]:
            value = {**fixed, **moving}
            return evaluate(eqn, [value[v] if isinstance(v, Var) else v.val for v in eqn.invars])

        moving = {v: stacks[v] for v in operands if v in stacks}
        names = list(moving)
        results = jax.vmap(lambda *a, names=names, one=one: one(dict(zip(names, a, strict=True))))(
            *moving.values()
        )
        stacks.update(zip(eqn.outvars, results, strict=True))
    return {v: stacks[v] for v in graph.hoist.outputs}


def _unhoist(
    graph: StepGraph, perturbed: set[Var], inputs: Inputs, ct_sequence: Values, ct_fixed: Values
) -> list[Array]:
    """Returns the cotangents of perturbed xs; adds those of fixed values to `ct_fixed`."""
    cts = {v: ct_sequence[v] for v in graph.xs if v in ct_sequence}
    hoisted = [v for v in graph.hoist.outputs if v in ct_sequence]
    if hoisted:
        used = graph.hoist.reads()
        moving = [v for v in (*graph.fix.outputs, *graph.xs) if v in perturbed & used]
        value = {**inputs.fixed, **dict(zip(graph.xs, inputs.xs, strict=True))}

        def run(*values: Array) -> list[Array]:
            named = {**value, **dict(zip(moving, values, strict=True))}
            products = hoist_products(graph, named, [named[v] for v in graph.xs])
            return [products[v] for v in hoisted]

        _, pull_back = jax.vjp(run, *(value[v] for v in moving))
        input_cts = pull_back([ct_sequence[v] for v in hoisted])
        for v, ct in zip(moving, input_cts, strict=True):
            _accumulate(cts if v in graph.xs else ct_fixed, v, ct)
    return [
        cts.get(v, jnp.zeros_like(x))
        for v, x in zip(graph.xs, inputs.xs, strict=True)
        if v in perturbed
    ]


def _weight_gradient(product: Deferred, operands: Array, cts: Array, weight: Array) -> Array:
    """The gradient of a weight over all steps, by one product."""
    eqn = product.eqn
    if is_plain_product(eqn) and eqn.invars[1] is product.weight:
        return sum_of_outer_products(operands, cts, eqn.params["precision"])

    def multiply(w: Array) -> Array:
        return jax.vmap(
            lambda a: evaluate(eqn, [a if v is product.operand else w for v in eqn.invars])[0]
        )(operands)

    shape = jax.ShapeDtypeStruct(weight.shape, weight.dtype)
    return jax.linear_transpose(multiply, shape)(cts)[0]


def _accumulate(cts: Values, v: Var, ct: Array) -> None:
    cts[v] = cts[v] + ct if v in cts else ct
