"""The loops of `seqjax.scan` forward and backward in time, over blocks of steps (`seqjax.fast_scan.block`)."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.block import (
    Inputs,
    Loop,
    Part,
    Stacks,
    Values,
    block_backward,
    block_forward,
    stacks_by_variable,
    written_by,
)
from seqjax.fast_scan.jaxprs import (
    Atom,
    Eqn,
    Program,
    Var,
    evaluate,
    interpret,
    is_known,
    program,
    struct,
    zeros,
)
from seqjax.fast_scan.keeping import NOTHING, Plan
from seqjax.fast_scan.products import (
    is_large,
    is_plain_product,
    pays_to_turn,
    turned,
    turned_product,
)
from seqjax.types import Array

TURN_STEPS = 8  # in a loop of fewer, to transpose a weight takes too large a part (docs/speed.md)


class Saved(NamedTuple):
    """What the way forward leaves for the way back."""

    fixed: list[Array]  # parameters and constants, the same at every step
    xs: list[Array]  # [T, ...]
    starts: list[
        Array
    ]  # the state before the first step, or if blocks are run again, [blocks, ...]
    stacks: Stacks | None  # None if blocks are run again


def run_forward(
    loop: Loop, fixed: list[Array], state: list[Array], xs: list[Array]
) -> tuple[tuple[list[Array], list[Array]], Saved]:
    """Returns `(final state, ys)`, and what `run_backward` needs."""
    if loop.rerun:
        loop = loop._replace(kept=NOTHING)
    graph, num_steps = loop.graph, loop.num_steps
    fix = _fixed_values(loop, fixed)
    step = turn_products(_forward_step(loop), fix, num_steps)
    starts = _empty(graph.state, _num_blocks(loop)) if loop.rerun else state

    def block(carry: tuple, part: Part) -> tuple:
        state, stacks, starts = carry
        if loop.rerun:
            starts = [
                lax.dynamic_update_index_in_dim(a, s, _block_index(loop, part), 0)
                for a, s in zip(starts, state, strict=True)
            ]
        inputs = Inputs(fix, state, [part.of(x) for x in xs])
        return *block_forward(loop, step, inputs, stacks, part), starts

    carry = (state, _stacks(loop, num_steps), starts)
    state, stacks, starts = _over_blocks(block, carry, num_steps, loop.block, loop.reverse)
    ys = stacks.written[: len(graph.ys)]
    return (state, ys), Saved(fixed, xs, starts, None if loop.rerun else stacks)


def run_backward(loop: Loop, plan: Plan, saved: Saved, cts: tuple) -> tuple[list, list, list]:
    """Returns the cotangents of fixed, state and xs; None where a leaf is not perturbed.

    `cts` belong to all leaves of the final state and of ys; those that are not perturbed are not
    read, and None is no cotangent.
    """
    graph, num_steps, perturbed = loop.graph, loop.num_steps, plan.backward.perturbed
    fix = _fixed_values(loop, saved.fixed)
    weights = turn_back(loop, plan, fix)
    step = turn_products(_forward_step(loop), fix, num_steps) if loop.rerun else None
    ct_state = [
        zeros(v) if ct is None else ct
        for ct, v in zip(cts[0], graph.state, strict=True)
        if v in perturbed
    ]
    ct_ys = [
        jnp.zeros((num_steps, *struct(v).shape), struct(v).dtype) if ct is None else ct
        for ct, v in zip(cts[1], graph.ys, strict=True)
        if isinstance(v, Var) and v in perturbed
    ]
    moving_fix = [v for v in graph.fix.outputs if v in perturbed]
    if saved.stacks is not None:
        stacks = stacks_by_variable(loop, saved.starts, saved.xs, saved.stacks)

    def block(carry: tuple, part: Part) -> tuple:
        ct_state, sums, ct_xs = carry
        inputs = Inputs(fix, saved.starts, [part.of(x) for x in saved.xs])
        if step is not None:
            inputs = inputs._replace(state=[a[_block_index(loop, part)] for a in saved.starts])
            again = _run_again(loop, step, inputs, part.size)
            here = [part.of(ct) for ct in ct_ys]
            own = Part(0, part.size)
            ct = block_backward(loop, plan, inputs, weights, again, (ct_state, here), own)
        else:
            ct = block_backward(loop, plan, inputs, weights, stacks, (ct_state, ct_ys), part)
        sums = [
            s + ct.fixed[v] if v in ct.fixed else s for v, s in zip(moving_fix, sums, strict=True)
        ]
        return ct.state, sums, [part.put(a, b) for a, b in zip(ct_xs, ct.xs, strict=True)]

    moving_xs = [v for v in graph.xs if v in perturbed]
    carry = (ct_state, [zeros(v) for v in moving_fix], _empty(moving_xs, num_steps))
    ct_state, sums, ct_xs = _over_blocks(block, carry, num_steps, loop.block, not loop.reverse)
    return (
        _unfix(graph.fix, perturbed, saved.fixed, sums),
        _spread(ct_state, graph.state, perturbed),
        _spread(ct_xs, graph.xs, perturbed),
    )


def _fixed_values(loop: Loop, fixed: list[Array]) -> Values:
    fix = loop.graph.fix
    return dict(zip(fix.outputs, fix.function(*fixed), strict=True))


def _forward_step(loop: Loop) -> Program:
    """fixed, sequence, state -> new state, y, kept."""
    body = loop.graph.body
    return program(body.inputs, (*body.outputs, *loop.kept.values), body.eqns)


def _run_again(loop: Loop, step: Callable, inputs: Inputs, size: int) -> Values:
    """What the backward loop over a block reads, made anew; stacks `[size, ...]`."""
    _, stacks = block_forward(loop, step, inputs, _stacks(loop, size), Part(0, size))
    return stacks_by_variable(loop, inputs.state, inputs.xs, stacks)


def _over_blocks(
    block: Callable[[Any, Part], Any], carry: Any, num_steps: int, size: int, reverse: bool
) -> Any:
    """`carry = block(carry, part)` for parts of `size` steps, and one of the rest at the end of time.

    `reverse` is from the last to the first.
    """
    if size == num_steps:
        return block(carry, Part(0, size))
    count = num_steps // size
    last = Part(count * size, num_steps - count * size)
    if last.size and reverse:
        carry = block(carry, last)
    if count == 1:
        carry = block(carry, Part(0, size))
    else:
        starts = size * jnp.arange(count)
        body = lambda carry, start: (block(carry, Part(start, size)), None)  # noqa: E731
        carry, _ = lax.scan(body, carry, starts, reverse=reverse)
    if last.size and not reverse:
        carry = block(carry, last)
    return carry


def _num_blocks(loop: Loop) -> int:
    return 1 if loop.block == loop.num_steps else -(-loop.num_steps // loop.block)


def _block_index(loop: Loop, part: Part) -> Any:
    return 0 if loop.block == loop.num_steps else part.start // loop.block


def _stacks(loop: Loop, num_steps: int) -> Stacks:
    written, _ = written_by(loop.graph, loop.kept)
    return Stacks(_empty(written, num_steps), _empty(loop.kept.hoisted, num_steps))


def _empty(atoms: Iterable[Atom], num_steps: int) -> list[Array]:
    return [lax.empty((num_steps, *s.shape), s.dtype) for s in map(struct, atoms)]


def turn_back(loop: Loop, plan: Plan, fix: Values) -> list[Array]:
    """The weights of the backward step's plain products.

    Transposed once, before the loop: a product with a transposed operand is 2-4 times slower.
    """
    weights = [fix[loop.graph.deferred[i].weight] for i in plan.backward.plain]
    return [w if is_large(w) else turned(w) for w in weights]


def turn_products(step: Program, fix: Values, num_steps: int) -> Callable[..., list[Array]]:
    """The step as a function, its products with large weights of `fix` turned.

    The weights are transposed before the loop, which takes as long as a few of its steps.
    """
    products: dict[int, Atom] = {
        id(eqn): eqn.invars[1]
        for eqn in step.eqns
        if is_plain_product(eqn) and eqn.invars[1] in fix and pays_to_turn(eqn)
    }
    if not products or not is_known(num_steps) or num_steps < TURN_STEPS:
        return step.function
    weights: dict[Atom, Array] = {v: turned(fix[v]) for v in products.values()}

    def rule(eqn: Eqn, inputs: list) -> list:
        if id(eqn) in products:
            return [turned_product(inputs[0], weights[eqn.invars[1]], eqn.params["precision"])]
        return evaluate(eqn, inputs)

    return lambda *inputs: interpret(step.jaxpr, inputs, rule)


def _unfix(
    fix: Program, perturbed: set[Var], fixed: list[Array], cts: list[Array]
) -> list[Array | None]:
    """The cotangents of parameters, from those of the perturbed fixed values."""
    moving = [v for v in fix.inputs if v in perturbed]
    value = dict(zip(fix.inputs, fixed, strict=True))

    def run(*values: Array) -> list[Array]:
        named = {**value, **dict(zip(moving, values, strict=True))}
        outputs = fix.function(*(named[v] for v in fix.inputs))
        return [a for v, a in zip(fix.outputs, outputs, strict=True) if v in perturbed]

    _, pull_back = jax.vjp(run, *(value[v] for v in moving))
    return _spread(pull_back(cts), fix.inputs, perturbed)


def _spread(
    cts: Iterable[Array], variables: Iterable[Var], perturbed: set[Var]
) -> list[Array | None]:
    """Cotangents of the perturbed variables, None for the others."""
    some = iter(cts)
    return [next(some) if v in perturbed else None for v in variables]
