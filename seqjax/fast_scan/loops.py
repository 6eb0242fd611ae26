"""The loops of `seqjax.scan` forward and backward in time, over blocks of steps (`seqjax.fast_scan.block`)."""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.block import (
    Loop,
    Part,
    block_backward,
    block_forward,
    pull_back,
    stacks_by_variable,
    written_by,
    zeros,
)
from seqjax.fast_scan.products import (
    is_large,
    is_plain_product,
    pays_to_turn,
    turned,
    turned_product,
)
from seqjax.fast_scan.stepgraph import (
    Program,
    StepGraph,
    evaluate,
    forward_alone,
    interpret,
    is_float,
)
from seqjax.types import Array

TURN_STEPS = 32  # in a loop of fewer, to transpose a weight takes too large a part


def run_forward(loop: Loop, fixed: list, state: list, xs: list) -> tuple[tuple, tuple]:
    if loop.rerun:
        loop = loop._replace(graph=forward_alone(loop.graph))
    graph, num_steps = loop.graph, len(xs[0])
    fix = dict(zip(graph.fix.outputs, graph.fix.function(*fixed), strict=True))
    step = turn_products(graph.forward, fix, num_steps)
    starts = _empty(graph.state, -(-num_steps // loop.block)) if loop.rerun else state

    def block(carry: tuple, part: Part) -> tuple:
        state, stacks, starts = carry
        if loop.rerun:
            starts = [
                lax.dynamic_update_index_in_dim(a, s, part.start // loop.block, 0)
                for a, s in zip(starts, state, strict=True)
            ]
        here = [part.of(x) for x in xs]
        return *block_forward(loop, step, fix, state, here, stacks, part), starts

    carry = (state, _stacks(graph, num_steps), starts)
    state, stacks, starts = _over_blocks(block, carry, num_steps, loop.block, loop.reverse)
    ys = stacks[0][: len(graph.ends[1])]
    return (state, ys), (fixed, xs, starts, None if loop.rerun else stacks)


def run_backward(loop: Loop, residuals: tuple, cts: tuple) -> tuple[list, list, list]:
    graph = loop.graph
    fixed, xs, starts, stacks = residuals
    fix = dict(zip(graph.fix.outputs, graph.fix.function(*fixed), strict=True))
    num_steps, weights = len(xs[0]), turn_back(graph, fix)
    ct_state, ct_ys = (
        [ct for ct, v in zip(group, atoms, strict=True) if is_float(v)]
        for group, atoms in zip(cts, graph.ends, strict=True)
    )
    float_fix = [v for v in graph.fix.outputs if is_float(v)]
    if loop.rerun:
        step = turn_products(graph.forward, fix, num_steps)
    else:
        read = stacks_by_variable(loop, starts, xs, stacks)

    def block(carry: tuple, part: Part) -> tuple:
        ct_state, sums, ct_xs = carry
        here = [part.of(x) for x in xs]
        if loop.rerun:
            whole, state = Part(0, part.size), [a[part.start // loop.block] for a in starts]
            empty = _stacks(graph, part.size)
            made = block_forward(loop, step, fix, state, here, empty, whole)[1]
            inputs = stacks_by_variable(loop, state, here, made), here
            found = block_backward(
                loop, fix, weights, *inputs, ct_state, [part.of(ct) for ct in ct_ys], whole
            )
        else:
            found = block_backward(loop, fix, weights, read, here, ct_state, ct_ys, part)
        ct_state, ct_fix, ct_here = found
        sums = [s + ct_fix[v] if v in ct_fix else s for v, s in zip(float_fix, sums, strict=True)]
        return ct_state, sums, [part.put(a, b) for a, b in zip(ct_xs, ct_here, strict=True)]

    float_xs = [v for v in graph.xs if is_float(v)]
    carry = (ct_state, [zeros(v) for v in float_fix], _empty(float_xs, num_steps))
    ct_state, sums, ct_xs = _over_blocks(block, carry, num_steps, loop.block, not loop.reverse)
    ct_fixed = pull_back(graph.fix.function, fixed, sums)
    return ct_fixed, _spread(ct_state, graph.state), _spread(ct_xs, graph.xs)


def _over_blocks(
    block: Callable[[Any, Part], Any], carry: Any, num_steps: int, size: int, reverse: bool
) -> Any:
    """`carry = block(carry, part)` for parts of `size` steps, and one of the rest at the end of time.

    `reverse` is from the last to the first.
    """
    count = num_steps // size
    rest = Part(count * size, num_steps - count * size)
    if rest.size and reverse:
        carry = block(carry, rest)
    if count == 1:
        carry = block(carry, Part(0, size))
    else:
        starts = size * jnp.arange(count)
        body = lambda carry, start: (block(carry, Part(start, size)), None)  # noqa: E731
        carry, _ = lax.scan(body, carry, starts, reverse=reverse)
    if rest.size and not reverse:
        carry = block(carry, rest)
    return carry


def _stacks(graph: StepGraph, num_steps: int) -> tuple[list[Array], list[Array]]:
    return _empty(written_by(graph)[0], num_steps), _empty(graph.kept_hoisted, num_steps)


def _empty(atoms: Iterable[Any], num_steps: int) -> list[Array]:
    return [lax.empty((num_steps, *v.aval.shape), v.aval.dtype) for v in atoms]


def turn_back(graph: StepGraph, fix: dict) -> list[Array]:
    """The weights of the backward step's plain products.

    Transposed once, before the loop: a product with a transposed operand is 2-4 times slower.
    """
    weights = [fix[graph.deferred[i].weight] for i in graph.backward.plain]
    return [w if is_large(w) else turned(w) for w in weights]


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


def _spread(cts: list[Array], atoms: tuple) -> list[Array | None]:
    """Cotangents of the float atoms, None for the others."""
    some = iter(cts)
    return [next(some) if is_float(v) else None for v in atoms]
