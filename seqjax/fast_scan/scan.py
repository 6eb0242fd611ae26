"""A drop-in for `jax.lax.scan` over a recurrent step, with a faster gradient.

`lax.scan` differentiates a recurrent step by adding `hₜ₋₁ᵀ dzₜ` to an accumulator of the size of the
recurrent matrix at every step. Here the loop backward in time carries the state's cotangent only;
one product after it gives the whole weight gradient, one product before the forward loop does the
work of all inputs, and the backward loop repeats no product. All of it is found from the step's
jaxpr (`seqjax.fast_scan.stepgraph`): any pure step will do, and none needs a hand-written derivative.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax

from seqjax.errors import InputError, check_positive
from seqjax.fast_scan.block import Loop
from seqjax.fast_scan.joined_gates import join_gates
from seqjax.fast_scan.loops import run_backward, run_forward, turn_products
from seqjax.fast_scan.stepgraph import (
    PRODUCTS,
    StepGraph,
    flatten,
    forward_alone,
    program,
    read_step,
)
from seqjax.types import Array, Params, State

BLOCK_BYTES = 8 << 20  # of hoisted products and cotangents in a block, and
BLOCK_WEIGHTS = 5  # times the bytes of the weights, if that is more
FEWEST_BLOCKS = 3  # of that many bytes; less than that stays in one
KEEP = ("gates", "products", "blocks")
Step = Callable[[Params, State, Any], tuple[State, Any]]


def scan(
    step: Step,
    params: Params,
    state: State,
    xs: Any,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
    keep: str = "gates",
    block: int | None = None,
    forward_mode: bool = False,
) -> tuple[State, Any]:
    """`lax.scan(partial(step, params), state, xs, length, reverse, unroll)`, differentiated faster.

    Equal values; gradients equal up to the order of summation. Works under `jit`, `grad`, `vmap`
    (over parameters too), `jax.checkpoint` and sharding. Without a gradient it is `lax.scan`, but
    for one sequence through gates that are cut from one array, as an LSTM's (see README, "Speed").
    It is `lax.scan` as well for arrays whose types tell how they lie on devices: those of a mesh with
    explicit axes, and within `jax.shard_map` unless `check_vma=False`.
    `explain` says what was found in a step.

    Args:
      step: `(params, state, x) -> (state, y)`, a pure function of pytrees. Arrays that it closes
        over count as parameters.
      params: a pytree, the same at every step.
      state: a pytree, the state before the first step.
      xs: a pytree of arrays `[T, ...]`, or None if `length` is given.
      length: T; needed only where xs has no leaves.
      reverse: run from the last step to the first.
      unroll: steps per iteration of the loop, as in `lax.scan`.
      keep: what the forward loop keeps for the backward loop. "gates": every activation that the
        derivative reads (fastest); "products": the recurrent products' outputs, the elementwise
        work being repeated; "blocks": only the state at the start of each block, the block being
        run again, so that memory grows with T / block + block.
      block: steps per block; the loop over time becomes a loop over blocks of a loop. Default:
        none, or about √T for keep="blocks".
      forward_mode: use `lax.scan` as it is, which `jax.jvp` and `jax.jacfwd` need.

    Returns:
      `(final_state, ys)`.

    Raises:
      InputError: if the state changes its structure, shape or dtype in the step, the leaves of xs
        differ in length, there is no step, an option is unknown, or the step has side effects.
    """
    if keep not in KEEP:
        raise InputError(f"keep must be one of {', '.join(KEEP)}, got {keep!r}.")
    if block is not None:
        check_positive("block", block)
    num_steps = _num_steps(xs, length)
    params, state, xs = jax.tree.map(_as_array, (params, state, xs))
    plain = partial(
        lax.scan, partial(step, params), length=num_steps, reverse=reverse, unroll=unroll
    )
    if _tells_devices((params, state, xs)):
        return plain(state, xs)
    closed, y_tree = _trace(step, params, state, jax.tree.map(_first, xs))
    if forward_mode or not jax.tree.leaves(xs):
        return plain(state, xs)

    state_flat, state_tree = jax.tree.flatten(state)
    flat, consts = flatten(closed)
    fixed = [*consts, *jax.tree.leaves(params)]
    graph = read_step(
        flat, len(fixed), len(state_flat), "products" if keep == "products" else "gates"
    )
    if not graph.deferred and keep != "blocks":
        return plain(state, xs)  # nothing to defer, nothing to gain
    if block is None:
        block = math.isqrt(num_steps) if keep == "blocks" else _good_block(graph, num_steps)
    loop = Loop(graph, reverse, unroll, min(block, num_steps), keep == "blocks")
    whole = program(flat.invars, flat.outvars, flat.eqns)

    @jax.custom_vjp
    def run(fixed: list, state: list, xs: list) -> tuple[list, list]:
        one_row = num_steps > 1 and _have_one_row(graph.hoist.outputs)
        if one_row and (joined := join_gates(flat)) is not flat:
            alone = forward_alone(read_step(joined, len(fixed), len(state), "gates"))
            return run_forward(loop._replace(graph=alone, rerun=False), fixed, state, xs)[0]

        step = turn_products(whole, dict(zip(flat.invars, fixed, strict=False)), num_steps)

        def body(state: list, x: list) -> tuple[list, list]:
            out = step(*fixed, *state, *x)
            return out[: len(state)], out[len(state) :]

        return lax.scan(body, state, xs, reverse=reverse, unroll=unroll)

    run.defvjp(partial(run_forward, loop), partial(run_backward, loop))
    final_state, ys = run(fixed, state_flat, jax.tree.leaves(xs))
    return jax.tree.unflatten(state_tree, final_state), jax.tree.unflatten(y_tree, ys)


def _good_block(graph: StepGraph, num_steps: int) -> int:
    """Steps per block so that what a block makes and uses up again stays near the cores.

    Hoisted products and their cotangents are written once and read once. Where they are large,
    memory that is used again block after block is faster than fresh memory for all steps
    (measured: seqjax's README, "Speed"). But every block adds to the gradient of each weight.
    """
    per_step = sum(_num_bytes(v) for v in graph.hoist.outputs)
    per_step += sum(_num_bytes(d.eqn.outvars[0]) for d in graph.deferred)
    weights = sum(_num_bytes(v) for v in {d.weight for d in graph.deferred})
    block_bytes = max(BLOCK_BYTES, BLOCK_WEIGHTS * weights)
    if per_step * num_steps <= FEWEST_BLOCKS * block_bytes:
        return num_steps
    wanted = max(16, block_bytes // per_step)
    divisors = [b for b in range(wanted // 2, 2 * wanted + 1) if b and num_steps % b == 0]
    return min(divisors, key=lambda b: abs(b - wanted), default=wanted)


def _have_one_row(products: Sequence[Any]) -> bool:
    """Whether a step reads a whole weight for one sequence: where no gradient is asked for, it pays
    to hoist such products (measured: 1.1 to 2.8 times as fast; .92 to 1.09 with 4 rows or more)."""
    return bool(products) and all(math.prod(v.aval.shape[:-1]) == 1 for v in products)


def _tells_devices(tree: Any) -> bool:
    """Whether a type says on which devices an array's parts are, as in the loops the types of all
    that they add up and stack would have to say."""
    types = [jax.typeof(a) for a in jax.tree.leaves(tree)]
    return any(
        t.manual_axis_type.varying or any(axis is not None for axis in t.sharding.spec)
        for t in types
    )


def _num_bytes(atom: Any) -> int:
    return math.prod(atom.aval.shape) * atom.aval.dtype.itemsize


def _as_array(a: Any) -> Array:
    return a if isinstance(a, jax.Array) else jnp.asarray(a)  # (a PRNG key is one already)


def _first(a: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape[1:], a.dtype)


def _num_steps(xs: Any, length: int | None) -> int:
    lengths = {jax.tree_util.keystr(k): jnp.shape(a)[:1] for k, a in jax.tree.leaves_with_path(xs)}
    scalars = [name for name, n in lengths.items() if not n]
    if scalars:
        raise InputError(f"every leaf of xs needs a leading time axis; xs{scalars[0]} has none.")
    counts = {name: n[0] for name, n in lengths.items()}
    if length is not None:
        counts["length"] = length
    if not counts:
        raise InputError("scan needs xs with at least one leaf, or length.")
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{'xs' if k != 'length' else ''}{k}: {n}" for k, n in counts.items())
        raise InputError(
            f"the leaves of xs (and length) must have one number of steps, got {shown}."
        )
    num_steps = next(iter(counts.values()))
    if num_steps < 1:
        raise InputError(f"scan needs at least one time step, got {num_steps}.")
    return num_steps


def _trace(step: Step, params: Params, state: State, x: Any) -> tuple[jex.ClosedJaxpr, Any]:
    """The step as a jaxpr on flat inputs, and the tree of y; refuses what cannot be scanned."""
    trees: list[Any] = []

    def flat_step(params: Params, state: State, x: Any) -> list[Any]:
        result = step(params, state, x)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise InputError(f"a step returns the pair (state, y), got {type(result).__name__}.")
        trees[:] = jax.tree.structure(result[0]), jax.tree.structure(result[1])
        return jax.tree.leaves(result)

    closed = jax.make_jaxpr(flat_step)(params, state, x)
    if closed.effects:
        raise InputError(
            f"the step has side effects ({', '.join(map(str, closed.effects))}), which a scan that"
            " reorders work cannot keep: take them out of the step."
        )
    state_tree, y_tree = trees
    if state_tree != jax.tree.structure(state):
        raise InputError(
            f"the step changes the structure of the state from {jax.tree.structure(state)} to"
            f" {state_tree}: return what was given."
        )
    for (path, old), new in zip(jax.tree.leaves_with_path(state), closed.out_avals, strict=False):
        old_type = jax.typeof(old)
        if (old_type.shape, old_type.dtype) != (new.shape, new.dtype):
            raise InputError(
                f"the step changes the state's leaf state{jax.tree_util.keystr(path)} from"
                f" {old_type.str_short()} to {new.str_short()}: start from, or cast back to, the"
                " same shape and dtype."
            )
    return closed, y_tree


def explain(step: Step, params: Params, state: State, x: Any) -> str:
    """What `scan` finds in a step, as text: hoisted, deferred, kept, with bytes and operations.

    Args:
      step: as in `scan`.
      params: as in `scan`.
      state: as in `scan`.
      x: the input of one step, without the time axis.

    Returns:
      Lines to print. Sizes are per time step.
    """
    params, state, x = jax.tree.map(_as_array, (params, state, x))
    closed, _ = _trace(step, params, state, x)
    flat, consts = flatten(closed)
    num_fixed = len(consts) + len(jax.tree.leaves(params))
    lines: list[str] = []
    for keep in ("gates", "products"):
        graph = read_step(flat, num_fixed, len(jax.tree.leaves(state)), keep)
        if not lines:
            lines += [f"hoisted   {_product(e)}" for e in _products(graph.hoist.eqns)]
            lines += [f"deferred  {_product(d.eqn)}" for d in graph.deferred]
            lines += [
                f"in the loop, its gradient summed step by step: {name} with"
                f" {v.aval.str_short()}: not a product of a loop value and one parameter"
                for name, v in graph.accumulated
            ]
        kept = [*graph.kept, *graph.kept_hoisted]
        shown = ", ".join(v.aval.str_short(short_dtypes=True) for v in kept) or "nothing"
        lines.append(f"kept for keep={keep!r}: {sum(map(_num_bytes, kept)):,} bytes: {shown}")
    if not graph.deferred:
        lines.append("no product of the state and a parameter: runs as lax.scan")
    return "\n".join(lines)


def _products(eqns: Iterable[Any]) -> list[Any]:
    return [e for e in eqns if e.primitive.name in PRODUCTS]


def _product(eqn: Any) -> str:
    a, b = (v.aval.str_short(short_dtypes=True) for v in eqn.invars)
    out = eqn.outvars[0].aval
    text = f"{a} x {b} -> {out.str_short(short_dtypes=True)}"
    if eqn.primitive.name != "dot_general":
        return f"{eqn.primitive.name} {text}"
    contracted = math.prod(
        eqn.invars[0].aval.shape[i] for i in eqn.params["dimension_numbers"][0][0]
    )
    return f"{text}, {2 * contracted * math.prod(out.shape):,} operations"
