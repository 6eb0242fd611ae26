"""A step's state for all times at once, component by component.

An affine component is a linear scan. On request pointwise and mixing ones are found by Newton's method on the whole
sequence (`seqjax.fast_scan.newton`); all else is computed step by step.

The derivative through affine and pointwise components, whatever found their states, is the implicit one:
λₜ = ∂L/∂sₜ + Aₜ₊₁ᵀ λₜ₊₁ is a linear scan backward in time, after which every step's share is known. Through mixing
components λ is computed step by step.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.jaxprs import Eqn, Jaxpr, evaluate, interpret, program, variables, zeros
from seqjax.fast_scan.kinds import AFFINE, NONE, POINTWISE, Component, components
from seqjax.fast_scan.linear_scan import linear_scan
from seqjax.fast_scan.newton import (
    Leaves,
    Step,
    Way,
    by_newton,
    by_steps,
    has_derivative,
    linearised,
    states_before,
)
from seqjax.types import Array


class Report(NamedTuple):
    """What was needed, for each component in their order.

    Attributes:
      kinds: AFFINE and the like.
      iterations: [C] int32, of Newton's method; 0 for other components.
      fell_back: [C] bool, whether it was computed step by step after all.
    """

    kinds: tuple[int, ...]
    iterations: Array
    fell_back: Array


def solve(
    jaxpr: Jaxpr,
    fixed: Leaves,
    state: Leaves,
    xs: Leaves,
    *,
    newton: bool,
    method: str,
    batch_axes: int = 0,
    damping: float = 0.0,
) -> tuple[Leaves, Leaves, Report]:
    """The final state, all y, and how they were found.

    Args:
      jaxpr: of the step, flat: inputs are `fixed`, the state, x; outputs the new state and y.
      fixed: parameters and constants.
      state: before the first step.
      xs: leaves `[T, ...]`.
      newton: find pointwise and mixing components by Newton's method too.
      method: of `linear_scan`.
      batch_axes: leading axes of the state along which rows do not touch; only for the size of a full
        derivative.
      damping: the share that Newton's method takes off the derivative, in [0, 1).
    """
    before: dict[int, Array] = {}  # of every leaf, its value before each step, [T, ...]
    final: dict[int, Array] = {}
    iterations, fell_back = [], []
    found = components(jaxpr, len(fixed), len(state))
    for component in found:
        inputs = [before[i] for i in component.reads]
        steps = _steps_of(component, len(state))
        way = Way(*steps, component.kind, method, newton, batch_axes, damping)
        start = [state[i] for i in component.leaves]
        states, count, fell = _solve(way, fixed, start, [*inputs, *xs])
        for i, first, all_states in zip(component.leaves, start, states, strict=True):
            before[i], final[i] = states_before(first, all_states), all_states[-1]
        iterations.append(count)
        fell_back.append(fell)
    everything = [before[i] for i in range(len(state))]
    outputs = _program_of(jaxpr, len(state))
    ys = jax.vmap(outputs, (None, 0, 0))(fixed, everything, xs) if outputs else []
    report = Report(
        tuple(c.kind for c in found), jnp.array(iterations, jnp.int32), jnp.array(fell_back, bool)
    )
    return [final[i] for i in range(len(state))], ys, report


def _program_of(jaxpr: Jaxpr, num_state: int) -> Callable[[Leaves, Leaves, Leaves], Leaves] | None:
    if len(jaxpr.outvars) == num_state:
        return None
    ys = program(jaxpr.invars, jaxpr.outvars[num_state:], jaxpr.eqns)
    return lambda fixed, state, x: ys.function(*fixed, *state, *x)


def _steps_of(component: Component, num_state: int) -> tuple[Step, Step]:
    """The component's new leaves from its own, where inputs are the leaves that it reads, then x.

    The second function has other derivatives: products of the state are those by the matrices' diagonals.
    """
    new = component.new

    def given(fixed: Leaves, own: Leaves, inputs: Leaves) -> Leaves:
        read = len(component.reads)
        known = dict(zip(component.leaves, own, strict=True))
        known |= dict(zip(component.reads, inputs[:read], strict=True))
        state = new.inputs[len(fixed) : len(fixed) + num_state]
        filled = [known[i] if i in known else zeros(v) for i, v in enumerate(state)]
        return [*fixed, *filled, *inputs[read:]]

    def step(fixed: Leaves, own: Leaves, inputs: Leaves) -> Leaves:
        return new.function(*given(fixed, own, inputs))

    def diagonal(fixed: Leaves, own: Leaves, inputs: Leaves) -> Leaves:
        of_own = {new.inputs[len(fixed) + i] for i in component.leaves}
        for eqn in new.eqns:
            if of_own & {*variables(eqn.invars)}:
                of_own |= {*eqn.outvars}
        rule = partial(_by_diagonals, of_own)
        return interpret(new.jaxpr, given(fixed, own, inputs), rule)

    return step, diagonal


def _by_diagonals(of_state: set[Any], eqn: Eqn, inputs: list[Any]) -> list[Any]:
    """The equation's results; of a product of the state `[..., H]` and `[H, K·H]`, whose derivative is that by
    the K diagonals."""
    results = evaluate(eqn, inputs)
    if eqn.primitive.name != "dot_general" or not of_state & {*variables(eqn.invars)}:
        return results
    state, matrix = inputs
    fixed = lax.stop_gradient(results[0])
    is_product = state.ndim and eqn.params["dimension_numbers"] == (
        ((state.ndim - 1,), (0,)),
        ((), ()),
    )
    if matrix.ndim != 2 or not is_product or matrix.shape[1] % matrix.shape[0]:
        return [fixed]
    gates = matrix.shape[1] // matrix.shape[0]
    diagonals = jnp.concatenate([jnp.diagonal(m) for m in jnp.split(matrix, gates, axis=1)])
    linear = jnp.tile(state, gates) * diagonals
    return [fixed + (linear - lax.stop_gradient(linear))]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve(way: Way, fixed: Leaves, start: Leaves, inputs: Leaves) -> tuple[Leaves, Array, Array]:
    """A component's states `[T, ...]`, the iterations it took, and whether it fell back."""
    none, no = jnp.int32(0), jnp.asarray(False)
    over_time = jax.vmap(way.step, (None, 0, 0))
    if way.kind == NONE:
        anything = [jnp.broadcast_to(s, (len(inputs[0]), *s.shape)) for s in start]
        return over_time(fixed, anything, inputs), none, no
    if way.kind == AFFINE:
        nothing = [jnp.zeros((len(inputs[0]), *s.shape), s.dtype) for s in start]
        offset, matrix = linearised(way, fixed, nothing, inputs)
        return linear_scan(matrix, offset, start, method=way.method), none, no
    if not way.newton or not has_derivative(way, start):
        return by_steps(way, fixed, start, inputs), none, no
    return by_newton(way, fixed, start, inputs)


def _forward(way: Way, fixed: Leaves, start: Leaves, inputs: Leaves) -> tuple:
    states, iterations, fell_back = _solve(way, fixed, start, inputs)
    return (states, iterations, fell_back), (fixed, start, inputs, states)


def _backward(way: Way, saved: tuple, cotangents: tuple) -> tuple:
    fixed, start, inputs, states = saved
    before = [states_before(s, all_states) for s, all_states in zip(start, states, strict=True)]
    cts = list(cotangents[0])
    if way.kind == NONE:
        total = cts
    elif way.kind in (AFFINE, POINTWISE):
        _, matrix = linearised(way, fixed, before, inputs)
        # λₜ reads Aₜ₊₁ᵀ: the matrices one step later, with nothing after the last.
        later = [[_shift_back(x) for x in column] for column in zip(*matrix, strict=True)]
        nothing = [jnp.zeros_like(s) for s in start]
        total = linear_scan(later, cts, nothing, method=way.method, reverse=True)
    else:
        total = _backward_by_steps(way, fixed, before, inputs, cts)
    _, pull_back = jax.vjp(jax.vmap(way.step, (None, 0, 0)), fixed, before, inputs)
    of_fixed, of_before, of_inputs = pull_back(total)
    return of_fixed, [ct[0] for ct in of_before], of_inputs


_solve.defvjp(_forward, _backward)


def _shift_back(a: Array) -> Array:
    return jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])


def _backward_by_steps(
    way: Way, fixed: Leaves, before: Leaves, inputs: Leaves, cts: Leaves
) -> Leaves:
    """λ of a step that mixes: its transposed derivative is applied, never made."""

    def step(later: Leaves, at: tuple) -> tuple[Leaves, Leaves]:
        before, x, ct = at
        total = jax.tree.map(jnp.add, later, ct)
        _, pull_back = jax.vjp(lambda s: way.step(fixed, s, x), before)
        return pull_back(total)[0], total

    nothing = [jnp.zeros_like(ct[0]) for ct in cts]
    return lax.scan(step, nothing, (before, inputs, cts), reverse=True)[1]
