"""A step's state for all times at once, component by component.

An affine component is a linear scan. A pointwise one is found by Newton's method on the whole sequence: each
iteration is a linear scan with the step's own derivative (Lim et al., 2024, eq. 5). A mixing one by the same
with a full derivative where the state is small, else with its diagonal (quasi-Newton: Gonzalez et al., 2024).
What has not converged, or could have gone astray, is computed step by step, in the same program.

A derivative that is made smaller leaves the states where the method stands still what they are, and damps what it does on
its way: errors grow less over the sequence, and more iterations are needed where there was nothing to damp.

The derivative is the implicit one: λₜ = ∂L/∂sₜ + Aₜ₊₁ᵀ λₜ₊₁ is a linear scan backward in time, after which every
step's share is known, whatever found the states.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.jaxprs import Eqn, Jaxpr, evaluate, interpret, program, variables, zeros
from seqjax.fast_scan.kinds import AFFINE, MIXING, NONE, POINTWISE, Component, components
from seqjax.fast_scan.linear_scan import linear_scan
from seqjax.types import Array

MOST_ITERATIONS = 50  # contracting dynamics need fewer, whatever T is
LARGEST_FULL = 64  # entries of a row's state up to which its whole derivative is taken
MOST_GROWTH = (
    1e4  # of a rounding error over the sequence, beyond which step by step is another sequence
)

Leaves = list[Any]  # arrays
Step = Callable[[Leaves, Leaves, Leaves], Leaves]  # (fixed, state, inputs) -> new state


class Way(NamedTuple):
    """How one component is solved, a static value."""

    step: Step
    diagonal: Step  # the same, with the derivative of a matrix's diagonal
    kind: int
    method: str  # of linear_scan
    newton: bool
    batch_axes: int  # of a mixing component's state
    damping: float = 0.0  # what Newton's method takes off the derivative, as a share


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
            before[i], final[i] = _before(first, all_states), all_states[-1]
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
        anything = [jnp.broadcast_to(s, (_num_steps(inputs), *s.shape)) for s in start]
        return over_time(fixed, anything, inputs), none, no
    if way.kind == AFFINE:
        nothing = [jnp.zeros((_num_steps(inputs), *s.shape), s.dtype) for s in start]
        offset, matrix = _linearised(way, fixed, nothing, inputs)
        return linear_scan(matrix, offset, start, method=way.method), none, no
    if not way.newton or not _has_derivative(way, start):
        return _by_steps(way, fixed, start, inputs), none, no
    return _newton(way, fixed, start, inputs)


def _has_derivative(way: Way, start: Leaves) -> bool:
    """Whether Newton's method has one to go by: of real states, and diagonals only of equal shapes."""
    if not all(jnp.issubdtype(s.dtype, jnp.floating) for s in start):
        return False
    same = len({s.shape for s in start}) == 1
    return way.kind == POINTWISE or same or _derivative_of(way, start) is _full


def _forward(way: Way, fixed: Leaves, start: Leaves, inputs: Leaves) -> tuple:
    states, iterations, fell_back = _solve(way, fixed, start, inputs)
    return (states, iterations, fell_back), (fixed, start, inputs, states)


def _backward(way: Way, saved: tuple, cotangents: tuple) -> tuple:
    fixed, start, inputs, states = saved
    before = [_before(s, all_states) for s, all_states in zip(start, states, strict=True)]
    cts = list(cotangents[0])
    if way.kind == NONE:
        total = cts
    elif way.kind in (AFFINE, POINTWISE):
        _, matrix = _linearised(way, fixed, before, inputs)
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


def _num_steps(inputs: Leaves) -> int:
    return inputs[0].shape[0]


def _before(start: Array, states: Array) -> Array:
    return jnp.concatenate([start[None].astype(states.dtype), states[:-1]])


def _shift_back(a: Array) -> Array:
    return jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])


def _linearised(
    way: Way, fixed: Leaves, states: Leaves, inputs: Leaves
) -> tuple[Leaves, list[list[Array]]]:
    """The step at every time and its derivative by each leaf, for one that acts on units by themselves."""
    over_time = jax.vmap(way.step, (None, 0, 0))

    def new(states: Leaves) -> Leaves:
        return over_time(fixed, states, inputs)

    values, push = jax.linearize(new, states)
    columns = []
    for j in range(len(states)):
        ones = [jnp.full_like(s, float(i == j)) for i, s in enumerate(states)]
        columns.append(push(ones))
    return values, [list(row) for row in zip(*columns, strict=True)]


def _by_steps(way: Way, fixed: Leaves, start: Leaves, inputs: Leaves) -> Leaves:
    def step(state: Leaves, x: Leaves) -> tuple[Leaves, Leaves]:
        new = way.step(fixed, state, x)
        return new, new

    return lax.scan(step, start, inputs)[1]


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


def _newton(way: Way, fixed: Leaves, start: Leaves, inputs: Leaves) -> tuple[Leaves, Array, Array]:
    """Newton's method on all states at once, from the states that the step makes of the first one."""
    num_steps = _num_steps(inputs)
    derivative = _pointwise if way.kind == POINTWISE else _derivative_of(way, start)
    most = min(MOST_ITERATIONS, max(1, num_steps // 2))
    tolerance = 100 * float(jnp.finfo(start[0].dtype).eps)

    def improve(states: Leaves) -> tuple[Leaves, Array]:
        """Better states, and whether they hardly differ from these."""
        before = [_before(s, x) for s, x in zip(start, states, strict=True)]
        values, push, solve_linear = derivative(way, fixed, before, inputs)
        offset = [v - p for v, p in zip(values, push(before), strict=True)]
        new = solve_linear(offset, start)
        return new, _all_close(new, states, tolerance)

    def unfinished(carry: tuple) -> Array:
        _, close, finite, count = carry
        return (count < most) & ~close & finite

    def iterate(carry: tuple) -> tuple:
        states, _, _, count = carry
        new, close = improve(states)
        return new, close, _all_below(new, jnp.inf), count + 1

    guess = [jnp.broadcast_to(s, (num_steps, *s.shape)) for s in start]
    guess = jax.vmap(way.step, (None, 0, 0))(fixed, guess, inputs)
    no, yes = jnp.asarray(False), jnp.asarray(True)
    states, close, _, count = lax.while_loop(unfinished, iterate, (guess, no, yes, jnp.int32(0)))
    before = [_before(s, x) for s, x in zip(start, states, strict=True)]
    whole = way._replace(damping=0.0)
    values, _, solve_linear = derivative(whole, fixed, before, inputs)
    good = close & _all_close(values, states, tolerance)
    good &= _all_below(_grown_errors(solve_linear, states, start), MOST_GROWTH)
    found = lax.cond(good, lambda: states, lambda: _by_steps(way, fixed, start, inputs))
    return found, count, ~good


def _all_close(a: Leaves, b: Leaves, tolerance: float) -> Array:
    """Whether no entry differs by more; not a maximum, which XLA lets pass over NaN."""
    close = [
        jnp.all(jnp.abs(x - y) <= tolerance * (1 + jnp.abs(y))) for x, y in zip(a, b, strict=True)
    ]
    return jnp.all(jnp.array(close))


def _all_below(values: Leaves, limit: float) -> Array:
    return jnp.all(jnp.array([jnp.all(jnp.abs(v) < limit) for v in values]))


def _grown_errors(solve_linear: Callable, states: Leaves, start: Leaves) -> Leaves:
    """What an error of 1 at every step and unit, of random sign, grows to over the sequence."""
    keys = jax.random.split(jax.random.key(0), len(states))
    errors = [
        jax.random.rademacher(k, s.shape).astype(s.dtype) for k, s in zip(keys, states, strict=True)
    ]
    return solve_linear(errors, [jnp.zeros_like(s) for s in start])


def _pointwise(way: Way, fixed: Leaves, before: Leaves, inputs: Leaves) -> tuple:
    """The step's values, the product with its derivative, and the linear recurrence with it."""
    values, matrix = _linearised(way, fixed, before, inputs)
    matrix = [[(1 - way.damping) * a for a in row] for row in matrix]

    def push(s: Leaves) -> Leaves:
        return [sum(a * x for a, x in zip(row, s, strict=True)) for row in matrix]

    def solve_linear(offset: Leaves, start: Leaves) -> Leaves:
        return linear_scan(matrix, offset, start, method=way.method)

    return values, push, solve_linear


def _derivative_of(way: Way, start: Leaves) -> Callable[..., tuple]:
    """Of a mixing step: the full derivative where a row's state is small, else its diagonal."""
    sizes = [s[(0,) * way.batch_axes].size for s in start]
    return _full if sum(sizes) <= LARGEST_FULL else _diagonal


def _full(way: Way, fixed: Leaves, before: Leaves, inputs: Leaves) -> tuple:
    """As `_pointwise`, by matrices of a row's whole state, `[T, ..., S, S]`."""
    axes = way.batch_axes
    shapes = [s.shape[1 + axes :] for s in before]

    def joined(s: Leaves, lead: int) -> Array:
        return jnp.concatenate([x.reshape(*x.shape[:lead], -1) for x in s], -1)

    sizes = [s[(0,) * (1 + axes)].size for s in before]
    cuts = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]

    def parted(s: Array) -> Leaves:
        parts = jnp.split(s, cuts, -1)
        return [p.reshape(*p.shape[:-1], *shape) for p, shape in zip(parts, shapes, strict=True)]

    def new(flat: Array) -> Array:
        over_time = jax.vmap(way.step, (None, 0, 0))
        return joined(over_time(fixed, parted(flat), inputs), 1 + axes)

    flat = joined(before, 1 + axes)
    values, push = jax.linearize(new, flat)
    eye = jnp.eye(flat.shape[-1], dtype=flat.dtype)
    columns = jax.vmap(lambda e: push(jnp.broadcast_to(e, flat.shape)))(eye)
    columns = (1 - way.damping) * columns
    matrix = jnp.moveaxis(columns, 0, -1)  # [T, ..., S, S], rows to, columns from

    def solve_linear(offset: Leaves, start: Leaves) -> Leaves:
        b, s0 = joined(offset, 1 + axes), joined(start, axes)
        b = b.at[0].add(_times(matrix[0], s0))

        def join(earlier: tuple, later: tuple) -> tuple:
            (a1, b1), (a2, b2) = earlier, later
            return a2 @ a1, _times(a2, b1) + b2

        return parted(lax.associative_scan(join, (matrix, b))[1])

    return (
        parted(values),
        lambda s: parted((1 - way.damping) * push(joined(s, 1 + axes))),
        solve_linear,
    )


def _times(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]


def _diagonal(way: Way, fixed: Leaves, before: Leaves, inputs: Leaves) -> tuple:
    """As `_pointwise`, by the diagonals of the matrices that the state is multiplied with."""
    values = jax.vmap(way.step, (None, 0, 0))(fixed, before, inputs)
    _, push, solve_linear = _pointwise(way._replace(step=way.diagonal), fixed, before, inputs)
    return values, push, solve_linear


def is_worth_it(found: Sequence[Component], *, newton: bool) -> bool:
    """Whether any component is solved in another way than step by step."""
    return any(c.kind == AFFINE or (newton and c.kind in (POINTWISE, MIXING)) for c in found)
