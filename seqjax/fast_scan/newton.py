"""All states of one component by Newton's method (Lim et al., 2024, eq. 5).

Each iteration is a linear scan with the step's own derivative: exact for a pointwise step; for a mixing one the full
derivative where the state is small, else its diagonal (quasi-Newton: Gonzalez et al., 2024). What has not converged,
or could have gone astray, is computed step by step, in the same program.

A derivative that is made smaller leaves the states where the method stands still what they are, and damps what it does
on its way: errors grow less over the sequence, and more iterations are needed where there was nothing to damp.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.fast_scan.kinds import POINTWISE
from seqjax.fast_scan.linear_scan import linear_scan
from seqjax.types import Array

MOST_ITERATIONS = 50  # contracting dynamics need fewer, whatever T is
LARGEST_FULL = 64  # entries of a row's state up to which its whole derivative is taken
MOST_GROWTH = 1e4  # of an error of rounding, beyond which step by step is another sequence

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


def has_derivative(way: Way, start: Leaves) -> bool:
    """Whether Newton's method has one to go by: of real states, and diagonals only of equal shapes."""
    if not all(jnp.issubdtype(s.dtype, jnp.floating) for s in start):
        return False
    same = len({s.shape for s in start}) == 1
    return way.kind == POINTWISE or same or _derivative_of(way, start) is _full


def by_newton(
    way: Way, fixed: Leaves, start: Leaves, inputs: Leaves
) -> tuple[Leaves, Array, Array]:
    """Newton's method on all states at once, from the states that the step makes of the first one.

    Returns the states `[T, ...]`, the number of iterations, and whether they were computed step by step after all.
    """
    num_steps = len(inputs[0])
    derivative = _pointwise if way.kind == POINTWISE else _derivative_of(way, start)
    most = min(MOST_ITERATIONS, max(1, num_steps // 2))
    tolerance = 100 * float(jnp.finfo(start[0].dtype).eps)

    def improve(states: Leaves) -> tuple[Leaves, Array]:
        """Better states, and whether they hardly differ from these."""
        before = [states_before(s, x) for s, x in zip(start, states, strict=True)]
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
    before = [states_before(s, x) for s, x in zip(start, states, strict=True)]
    whole = way._replace(damping=0.0)
    values, _, solve_linear = derivative(whole, fixed, before, inputs)
    good = close & _all_close(values, states, tolerance)
    good &= _all_below(_grown_errors(solve_linear, states, start), MOST_GROWTH)
    found = lax.cond(good, lambda: states, lambda: by_steps(way, fixed, start, inputs))
    return found, count, ~good


def _all_close(a: Leaves, b: Leaves, tolerance: float) -> Array:
    """Whether no entry differs by more, relative to itself or, of small ones, to the largest up to 1.

    NaN is never close: a maximum of differences would let it pass.
    """

    def close(x: Array, y: Array) -> Array:
        size = jnp.minimum(jnp.max(jnp.abs(y), initial=0), 1)
        return jnp.all(jnp.abs(x - y) <= tolerance * (size + jnp.abs(y)))

    return jnp.all(jnp.array([close(x, y) for x, y in zip(a, b, strict=True)]))


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
    values, matrix = linearised(way, fixed, before, inputs)
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


def linearised(
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


def by_steps(way: Way, fixed: Leaves, start: Leaves, inputs: Leaves) -> Leaves:
    """The states `[T, ...]`, one after the other."""

    def step(state: Leaves, x: Leaves) -> tuple[Leaves, Leaves]:
        new = way.step(fixed, state, x)
        return new, new

    return lax.scan(step, start, inputs)[1]


def states_before(start: Array, states: Array) -> Array:
    """What each step starts from, `[T, ...]`, of the states after it."""
    return jnp.concatenate([start[None].astype(states.dtype), states[:-1]])
