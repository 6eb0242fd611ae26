"""A drop-in for `jax.lax.scan` over a recurrent step, with a faster gradient.

`lax.scan` differentiates a recurrent step by adding `hₜ₋₁ᵀ dzₜ` to an accumulator of the size of the
recurrent matrix at every step. Here the loop backward in time carries the state's cotangent only;
one product after it gives the whole weight gradient, one product before the forward loop does the
work of all inputs, and the backward loop repeats no product. All of it is found from the step's
jaxpr (`seqjax.fast_scan.stepgraph`): any pure step will do, and none needs a hand-written derivative.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.tree_util import Partial

from seqjax.errors import InputError, check_positive
from seqjax.fast_scan.block import Loop
from seqjax.fast_scan.door import (
    Step,
    as_array,
    count_steps,
    first,
    refuse_side_effects,
    split_arrays,
    trace_step,
)
from seqjax.fast_scan.jaxprs import (
    Jaxpr,
    Var,
    flatten,
    is_float,
    is_known,
    names_axes,
    num_bytes,
    program,
    struct,
    tells_devices,
)
from seqjax.fast_scan.joined_gates import join_gates
from seqjax.fast_scan.keeping import NOTHING, plan_gradient
from seqjax.fast_scan.kinds import AFFINE, NONE, components
from seqjax.fast_scan.linear_scan import default_method
from seqjax.fast_scan.linearize import linearize
from seqjax.fast_scan.loops import run_backward, run_forward, turn_products
from seqjax.fast_scan.parallel import Report, solve
from seqjax.fast_scan.stepgraph import StepGraph, read_step
from seqjax.types import Params, State

BLOCK_BYTES = 8 << 20  # of hoisted products and cotangents in a block, and
BLOCK_WEIGHTS = 5  # times the bytes of the weights, if that is more
FEWEST_BLOCKS = 3  # of that many bytes; less than that stays in one
KEEP = ("gates", "products", "blocks")
PARALLEL = ("auto", "never", "associative", "newton", "damped")
NEWTON = ("newton", "damped")
DAMPING = 0.1  # of the derivative, by "damped"
MISSING = object()


def scan(
    step: Step,
    params: Params,
    state: State,
    xs: Any = MISSING,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
    keep: str = "gates",
    block: int | None = None,
    forward_mode: bool = False,
    parallel: str = "auto",
    batch_axes: int = 0,
) -> tuple[State, Any]:
    """`lax.scan(partial(step, params), state, xs, length, reverse, unroll)`, differentiated faster.

    Unlike `lax.scan` it takes the parameters as an argument, since it sums their gradient after the loop:
    `scan(lambda params, state, x: f(state, x), (), state, xs)` is `lax.scan(f, state, xs)`. And it has a
    derivative backward only: `jax.jvp` and `jax.jacfwd` need `forward_mode=True`.

    Equal values; gradients equal up to the order of summation. Works under `jit`, `grad`, `vmap`
    (over parameters too), `jax.checkpoint` and sharding. Without a gradient it is `lax.scan`, but
    for one sequence through gates that are cut from one array, as an LSTM's, and for weights of 2 MiB and more
    (see docs/speed.md).
    It is `lax.scan` as well for arrays whose types tell how they lie on devices: those of a mesh with
    explicit axes, and within `jax.shard_map` unless `check_vma=False`; and for a step that speaks of a
    named axis (`lax.psum`), which the derivative of a function of its own cannot do under `vmap`.
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
      forward_mode: use `lax.scan` as it is, which `jax.jvp`, `jax.jacfwd` and steps with side
        effects (`jax.debug.print`, `checkify`) need.
      parallel: what need not be walked step by step. "never": every step waits for the one before;
        "associative": parts of the state that are affine in themselves (`explain` says which) are found
        for all steps at once, in a number of products that grows with log T; "newton": the other parts
        too, by Newton's method, and step by step after all where it does not converge; "damped": as
        "newton", with a tenth taken off the derivative, which goes astray less often. "auto": as
        "never" on a CPU, and elsewhere "associative" for steps all of whose state is affine. See
        docs/parallel.md.
      batch_axes: how many leading axes of the state are of rows that do not touch, which "newton"
        cannot see in a step: it takes a small state's full derivative.

    Returns:
      `(final_state, ys)`.

    Raises:
      InputError: if the state changes its structure, shape or dtype in the step, the leaves of xs
        differ in length, there is no step, an option is unknown, or the step has side
        effects and forward_mode is not set.
    """
    if xs is MISSING:
        raise InputError(
            "scan takes step, params, state and xs. As lax.scan(f, state, xs) write"
            " scan(lambda params, state, x: f(state, x), (), state, xs), or use lax.scan."
        )
    if keep not in KEEP:
        raise InputError(f"keep must be one of {', '.join(KEEP)}, got {keep!r}.")
    if parallel not in PARALLEL:
        raise InputError(f"parallel must be one of {', '.join(PARALLEL)}, got {parallel!r}.")
    if block is not None:
        check_positive("block", block)
    arrays, join = split_arrays(params)
    state, xs = jax.tree.map(as_array, (state, xs))
    num_steps = count_steps(xs, length)
    plain = partial(
        lax.scan, partial(step, join(arrays)), length=length, reverse=reverse, unroll=unroll
    )
    if any(map(tells_devices, jax.tree.leaves((arrays, state, xs)))):
        return plain(state, xs)
    closed, state, y_tree = trace_step(
        lambda arrays, state, x: step(join(arrays), state, x),
        arrays,
        state,
        jax.tree.map(first, xs),
    )
    if forward_mode and parallel in PARALLEL[2:]:
        raise InputError("forward_mode is the plain lax.scan: leave parallel out, or at 'never'.")
    if forward_mode or names_axes(closed):
        return plain(state, xs)
    refuse_side_effects(closed)

    state_flat, state_tree = jax.tree.flatten(state)
    flat, consts = flatten(closed)
    fixed = [*consts, *arrays]
    if _is_parallel(parallel, flat, len(fixed), len(state_flat), num_steps, xs):
        final_state, ys, _ = _in_parallel(
            flat, fixed, state_flat, jax.tree.leaves(xs), parallel, reverse, batch_axes
        )
        return jax.tree.unflatten(state_tree, final_state), jax.tree.unflatten(y_tree, ys)
    graph = read_step(flat, len(fixed), len(state_flat))
    if not graph.deferred and keep != "blocks":
        return plain(state, xs)  # nothing to defer, nothing to gain
    size = _block_size(graph, num_steps, keep, block)
    loop = Loop(graph, NOTHING, num_steps, size, reverse, unroll, rerun=keep == "blocks")
    run = _differentiable(flat, loop, "products" if keep == "products" else "gates")
    try:
        final_state, ys = run(fixed, state_flat, jax.tree.leaves(xs))
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise InputError(
            "scan and unroll have a derivative backward in time only: for jax.jvp, jax.jacfwd and"
            " jax.hessian give forward_mode=True, which is the plain lax.scan."
        ) from error
    return jax.tree.unflatten(state_tree, final_state), jax.tree.unflatten(y_tree, ys)


def scan_with_report(
    step: Step,
    params: Params,
    state: State,
    xs: Any,
    *,
    reverse: bool = False,
    parallel: str = "newton",
    batch_axes: int = 0,
) -> tuple[State, Any, Report]:
    """As `scan` with `parallel`, and what it took: kinds, iterations, what fell back.

    Raises:
      InputError: as `scan`, and if xs has no leaves or parallel is "never" or "auto".
    """
    if parallel not in PARALLEL[2:]:
        raise InputError(
            f"parallel must be one of {', '.join(PARALLEL[2:])} here, got {parallel!r}."
        )
    arrays, join = split_arrays(params)
    state, xs = jax.tree.map(as_array, (state, xs))
    count_steps(xs, None)
    closed, state, y_tree = trace_step(
        lambda arrays, state, x: step(join(arrays), state, x),
        arrays,
        state,
        jax.tree.map(first, xs),
    )
    refuse_side_effects(closed)
    state_flat, state_tree = jax.tree.flatten(state)
    flat, consts = flatten(closed)
    final_state, ys, report = _in_parallel(
        flat, [*consts, *arrays], state_flat, jax.tree.leaves(xs), parallel, reverse, batch_axes
    )
    return (
        jax.tree.unflatten(state_tree, final_state),
        jax.tree.unflatten(y_tree, ys),
        report,
    )


def _is_parallel(
    parallel: str, jaxpr: Jaxpr, num_fixed: int, num_state: int, num_steps: int, xs: Any
) -> bool:
    """Whether any part of the state is found for all steps at once."""
    if parallel == "never" or not is_known(num_steps) or not jax.tree.leaves(xs):
        return False
    if parallel == "auto" and (jax.default_backend() == "cpu" or not num_state):
        return False
    kinds = [part.kind for part in components(jaxpr, num_fixed, num_state)]
    if parallel == "auto":
        return AFFINE in kinds and max(kinds) == AFFINE
    return max(kinds, default=NONE) >= AFFINE if parallel in NEWTON else AFFINE in kinds


def _in_parallel(
    jaxpr: Jaxpr,
    fixed: list,
    state: list,
    xs: list,
    parallel: str,
    reverse: bool,
    batch_axes: int,
) -> tuple[list, list, Report]:
    xs = [x[::-1] for x in xs] if reverse else xs
    newton, method = parallel in NEWTON, default_method()
    how: dict[str, Any] = {"newton": newton, "method": method, "batch_axes": batch_axes}
    how["damping"] = DAMPING if parallel == "damped" else 0.0
    final_state, ys, report = solve(jaxpr, fixed, state, xs, **how)
    return final_state, [y[::-1] for y in ys] if reverse else ys, report


def _block_size(graph: StepGraph, num_steps: int, keep: str, block: int | None) -> int:
    if not is_known(num_steps):
        if block is not None:
            raise InputError("block needs a known number of steps; this one is a symbol.")
        return num_steps
    if block is None:
        block = math.isqrt(num_steps) if keep == "blocks" else _good_block(graph, num_steps)
    return min(block, num_steps)


def _differentiable(jaxpr: Jaxpr, loop: Loop, keep: str) -> Callable:
    """`(fixed, state, xs) -> (final state, ys)` on lists of leaves, with the gradient of the loops."""
    whole_step = program(jaxpr.invars, jaxpr.outvars, jaxpr.eqns)

    def plain(fixed: list, state: list, xs: list) -> tuple[list, list]:
        values = dict(zip(jaxpr.invars, fixed, strict=False))
        one_step = turn_products(whole_step, values, loop.num_steps)

        def body(state: list, x: list) -> tuple[list, list]:
            out = one_step(*fixed, *state, *x)
            return out[: len(state)], out[len(state) :]

        length = None if xs else loop.num_steps
        return lax.scan(body, state, xs, length, reverse=loop.reverse, unroll=loop.unroll)

    @jax.custom_vjp
    def run(fixed: list, state: list, xs: list) -> tuple[list, list]:
        many = is_known(loop.num_steps) and loop.num_steps > 1
        one_row = many and _have_one_row(loop.graph.hoist.outputs)
        if one_row and (joined := join_gates(jaxpr)) is not jaxpr:
            graph = read_step(joined, len(fixed), len(state))
            return run_forward(loop._replace(graph=graph, rerun=False), fixed, state, xs)[0]
        return plain(fixed, state, xs)

    def forward(*inputs: Any) -> tuple[tuple[list, list], Partial]:
        """The outputs, and the function from their cotangents to those of the inputs."""
        values = jax.tree.map(lambda a: a.value, inputs)
        perturbed = [a.perturbed for a in jax.tree.leaves(inputs)]
        moving = [p and is_float(v) for p, v in zip(perturbed, jaxpr.invars, strict=True)]
        try:
            wanted = [v for v, moves in zip(jaxpr.invars, moving, strict=True) if moves]
            plan = plan_gradient(loop.graph, keep, wanted)
        except Exception:  # whatever JAX raises: the plain scan raises it too, if it must
            return linearize(plain, values, moving)
        keeping = loop._replace(kept=plan.kept)
        outputs, saved = run_forward(keeping, *values)
        return outputs, Partial(partial(run_backward, keeping, plan), saved)

    def backward(pull_back: Partial, cts: Any) -> Any:
        return pull_back(jax.tree.map(lambda ct: None if isinstance(ct, SymbolicZero) else ct, cts))

    run.defvjp(forward, backward, symbolic_zeros=True)
    return run


def _good_block(graph: StepGraph, num_steps: int) -> int:
    """Steps per block so that what a block makes and uses up again stays near the cores.

    Hoisted products and their cotangents are written once and read once. Where they are large,
    memory that is used again block after block is faster than fresh memory for all steps
    (measured: docs/speed.md). But every block adds to the gradient of each weight.
    """
    per_step = sum(num_bytes(v) for v in graph.hoist.outputs)
    per_step += sum(num_bytes(d.eqn.outvars[0]) for d in graph.deferred)
    weights = sum(num_bytes(v) for v in {d.weight for d in graph.deferred})
    block_bytes = max(BLOCK_BYTES, BLOCK_WEIGHTS * weights)
    if not is_known(per_step) or per_step * num_steps <= FEWEST_BLOCKS * block_bytes:
        return num_steps
    wanted = max(16, block_bytes // per_step)
    divisors = [b for b in range(wanted // 2, 2 * wanted + 1) if b and num_steps % b == 0]
    return min(divisors, key=lambda b: abs(b - wanted), default=wanted)


def _have_one_row(products: Sequence[Var]) -> bool:
    """Whether a step reads a whole weight for one sequence: where no gradient is asked for, it pays
    to hoist such products (measured: 1.1 to 2.8 times as fast; .92 to 1.09 with 4 rows or more)."""
    return bool(products) and all(math.prod(struct(v).shape[:-1]) == 1 for v in products)
