"""The loops forward and backward in time of `seqjax.scan`, block by block.

A block is some steps in a row, often all of them. Forward, it hoists the products of its inputs, runs
the step, and keeps what the way back will read. Backward, its loop carries the cotangent of the
state; one product per weight after that loop gives the weight's gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax

from seqjax.products import (
    is_large,
    is_plain_product,
    pays_to_turn,
    rows_product,
    sum_of_outer_products,
    turned,
    turned_product,
)
from seqjax.stepgraph import Deferred, Program, StepGraph, evaluate, interpret, is_float
from seqjax.types import Array

TURN_STEPS = 32  # in a loop of fewer, to transpose a weight takes too large a part


class Loop(NamedTuple):
    """A step and how to run it."""

    graph: StepGraph
    reverse: bool
    unroll: int
    block: int  # steps per block; a multiple of it and a rest make up T
    rerun: bool  # whether blocks are run again in the backward loop


class Saved(NamedTuple):
    """What one block hands from the forward to the backward loop, `[steps, ...]` each."""

    kept: list[Array]
    hoisted: list[Array]  # hoisted products that the backward loop reads
    starts: list[Array]  # [...], the state before the block, for `StepGraph.shifted`


# ---------------------------------------------------------------- one block


def _block_forward(
    loop: Loop, step: Callable, fix: dict, state: list, xs: list
) -> tuple[list, list[Array], Saved]:
    """Returns the state after the block, its ys, and what its backward loop will read.

    `step` is the graph's forward step, or a faster form of it.
    """
    graph = loop.graph
    hoisted = hoist_products(graph, fix, xs)
    by_var = {**dict(zip(graph.xs, xs, strict=True)), **hoisted}
    fixed = [fix[v] for v in graph.fixed]
    state_out, ys_out = graph.ends
    count = len(state_out) + len(ys_out)
    # What is kept and is an output of the step as well is written once.
    shared = {v: i for i, v in enumerate(ys_out) if isinstance(v, jex.Var)}
    shared |= dict(graph.shifted)
    fresh = [i for i, v in enumerate(graph.kept) if v not in shared]

    def body(state: list, at_t: list) -> tuple[list, tuple[list, list]]:
        out = step(*fixed, *at_t, *state)
        return out[: len(state)], (out[len(state) : count], [out[count + i] for i in fresh])

    sequence = [by_var[v] for v in graph.sequence]
    num_steps = len(xs[0])
    starts = [state[graph.state.index(v)] for v, _ in graph.shifted]
    state, (ys, kept) = lax.scan(body, state, sequence, num_steps, loop.reverse, loop.unroll)
    stacks = iter(kept)
    all_kept = [ys[shared[v]] if v in shared else next(stacks) for v in graph.kept]
    return state, ys, Saved(all_kept, [hoisted[v] for v in graph.kept_hoisted], starts)


def _block_backward(
    loop: Loop, fix: dict, saved: Saved, xs: list, ct_state: list, ct_ys: list
) -> tuple[list, dict, list]:
    """Returns cotangents: of the float state before the block, of fixed values, of float xs."""
    graph, back = loop.graph, loop.graph.backward
    fixed = {v: fix[v] for v in graph.fixed}
    # Transposed once, before the loop: a product with a transposed operand is 2-4 times slower.
    weights = [fix[graph.deferred[i].weight] for i in back.plain]
    weights = [w if is_large(w) else turned(w) for w in weights]
    stacks = dict(zip(graph.xs, xs, strict=True))
    stacks |= dict(zip(graph.kept_hoisted, saved.hoisted, strict=True))
    stacks |= dict(zip(graph.kept, saved.kept, strict=True))
    for (v, _), start in zip(graph.shifted, saved.starts, strict=True):
        first, rest = start[None], stacks[v]
        parts = [rest[1:], first] if loop.reverse else [first, rest[:-1]]
        stacks[v] = jnp.concatenate(parts)
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
        inputs = [value[v] if v in value else _zeros(v) for v in graph.replay.inputs]
        value |= dict(zip(graph.replay.outputs, graph.replay.function(*inputs), strict=True))
        results = back.function([value[v] for v in back.reads], weights, [*ct_state, *ct_y])
        ct_state = [
            _zeros(v) if i is None else results[i]
            for v, i in zip(graph.state, back.state, strict=True)
            if is_float(v)
        ]
        sums = [s + results[i] for s, i in zip(sums, summed.values(), strict=True)]
        return (ct_state, sums), ([results[i] for i in emitted], [value[v] for v in operands])

    carry = (ct_state, [_zeros(end.inputs[0] if (end := finish[v]) else v) for v in summed])
    (ct_state, sums), (results, operand_stacks) = lax.scan(
        body, carry, (list(read.values()), ct_ys), len(xs[0]), not loop.reverse, loop.unroll
    )
    stacked = dict(zip(emitted, results, strict=True))
    stacks |= dict(zip(operands, operand_stacks, strict=True))

    ct_fix = {
        v: end.function(total)[0] if (end := finish[v]) else total
        for v, total in zip(summed, sums, strict=True)
    }
    for v, i in zip(graph.fixed, back.fixed, strict=True):
        if i in stacked and v not in summed:
            ct_fix[v] = jnp.sum(stacked[i], 0)
    for product, i in zip(graph.deferred, back.deferred, strict=True):
        if i is not None:
            grad = _weight_gradient(product, stacks[product.operand], stacked[i], fix)
            _accumulate(ct_fix, product.weight, grad)
    ct_sequence = {
        v: stacked[i] for v, i in zip(graph.sequence, back.sequence, strict=True) if i is not None
    }
    return ct_state, ct_fix, _unhoist(graph, fix, xs, ct_sequence, ct_fix)


def turn_products(step: Program, fix: dict, num_steps: int) -> Callable[..., list[Array]]:
    """The step as a function, its products with large weights of `fix` turned.

    The weights are transposed before the loop, which takes as long as a few of its steps.
    """
    products = {
        id(eqn): eqn.invars[1]
        for eqn in step.eqns
        if is_plain_product(eqn) and eqn.invars[1] in fix and pays_to_turn(eqn)
    }
    if num_steps < TURN_STEPS or not products:
        return step.function
    weights = {v: turned(fix[v]) for v in products.values()}

    def rule(eqn: Any, inputs: list) -> list:
        if id(eqn) in products:
            return [turned_product(inputs[0], weights[eqn.invars[1]], eqn.params["precision"])]
        return evaluate(eqn, inputs)

    return lambda *inputs: interpret(step.jaxpr, inputs, rule)


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


# ---------------------------------------------------------------- all blocks


def run_forward(loop: Loop, fixed: list, state: list, xs: list) -> tuple[tuple, tuple]:
    fix = dict(zip(loop.graph.fix.outputs, loop.graph.fix.function(*fixed), strict=True))
    step = turn_products(loop.graph.forward, fix, len(xs[0]))

    def block(state: list, xs: list, _: None) -> tuple[list, list, Any]:
        new_state, ys, saved = _block_forward(loop, step, fix, state, xs)
        return new_state, ys, state if loop.rerun else saved

    state, ys, saved = _over_blocks(block, state, xs, (None, None), loop.block, loop.reverse)
    return (state, ys), (fixed, xs, saved)


def run_backward(loop: Loop, residuals: tuple, cts: tuple) -> tuple[list, list, list]:
    graph = loop.graph
    fixed, xs, saved = residuals
    fix = dict(zip(graph.fix.outputs, graph.fix.function(*fixed), strict=True))
    ct_state, ct_ys = (
        [ct for ct, v in zip(group, atoms, strict=True) if is_float(v)]
        for group, atoms in zip(cts, graph.ends, strict=True)
    )
    float_fix = [v for v in graph.fix.outputs if is_float(v)]
    step = graph.forward.function
    if loop.rerun:
        step = turn_products(graph.forward, fix, len(xs[0]))

    def block(carry: tuple, inputs: tuple, saved: Any) -> tuple[tuple, list, None]:
        (ct_state, sums), (xs, ct_ys) = carry, inputs
        if loop.rerun:
            _, _, saved = _block_forward(loop, step, fix, saved, xs)
        ct_state, ct_fix, ct_xs = _block_backward(loop, fix, saved, xs, ct_state, ct_ys)
        sums = [s + ct_fix[v] if v in ct_fix else s for v, s in zip(float_fix, sums, strict=True)]
        return (ct_state, sums), ct_xs, None

    carry = (ct_state, [_zeros(v) for v in float_fix])
    (ct_state, sums), ct_xs, _ = _over_blocks(
        block, carry, (xs, ct_ys), saved, loop.block, not loop.reverse
    )
    ct_fixed = pull_back(graph.fix.function, fixed, sums)
    return ct_fixed, _spread(ct_state, graph.state), _spread(ct_xs, graph.xs)


def _over_blocks(
    block: Callable[[Any, Any, Any], tuple[Any, Any, Any]],
    carry: Any,
    steps: Any,
    blocks: tuple[Any, Any],
    size: int,
    reverse: bool,
) -> tuple[Any, Any, tuple[Any, Any]]:
    """A scan over blocks of `size` steps, and a shorter block at the end for the rest.

    Args:
      block: `(carry, steps of the block, extra) -> (carry, outputs of its steps, extra output)`.
      carry: before the first block.
      steps: a pytree `[T, ...]`.
      blocks: extras of the full blocks `[T // size, ...]`, and of the rest.
      size: steps per block.
      reverse: from the last block to the first.

    Returns:
      The last carry, outputs `[T, ...]`, and the extra outputs, as `blocks`.
    """
    num_steps = len(jax.tree.leaves(steps)[0])
    count = num_steps // size
    full = jax.tree.map(lambda a: a[: count * size].reshape(count, size, *a.shape[1:]), steps)
    rest = jax.tree.map(lambda a: a[count * size :], steps)
    done: dict[str, tuple[Any, Any]] = {}

    def body(carry: Any, inputs: tuple) -> tuple[Any, tuple]:
        carry, outputs, extra = block(carry, *inputs)
        return carry, (outputs, extra)

    for part in ("rest", "full") if reverse else ("full", "rest"):
        if part == "full" and count > 1:
            carry, done[part] = lax.scan(body, carry, (full, blocks[0]), reverse=reverse)
        elif part == "full":
            first = jax.tree.map(lambda a: a[0], (full, blocks[0]))
            carry, (outputs, extra) = body(carry, first)
            done[part] = jax.tree.map(lambda a: a[None], (outputs, extra))
        elif num_steps % size:
            carry, done[part] = body(carry, (rest, blocks[1]))
    outputs, extra = done["full"]
    outputs = jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:]), outputs)
    if "rest" not in done:
        return carry, outputs, (extra, None)
    last, last_extra = done["rest"]
    outputs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, last)
    return carry, outputs, (extra, last_extra)


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


def _spread(cts: list[Array], atoms: tuple) -> list[Array | None]:
    """Cotangents of the float atoms, None for the others."""
    some = iter(cts)
    return [next(some) if is_float(v) else None for v in atoms]


def _zeros(atom: Any) -> Array:
    return jnp.zeros(atom.aval.shape, atom.aval.dtype)
