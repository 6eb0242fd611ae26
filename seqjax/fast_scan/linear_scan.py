"""sₜ = Aₜ sₜ₋₁ + bₜ for all t: associatively, in blocks, or step by step."""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.types import Array

Matrix = Sequence[Sequence[Array]]  # n x n of [T, ...]: entry i, j says how leaf i reads leaf j
METHODS = ("associative", "blocks", "steps")


def linear_scan(
    a: Matrix, b: Sequence[Array], start: Sequence[Array], *, method: str, reverse: bool = False
) -> list[Array]:
    """All states of an affine recurrence that acts on every unit by itself.

    Args:
      a: A, n x n arrays `[T, ...]` that act elementwise.
      b: n arrays `[T, ...]`.
      start: n arrays `[...]`, the state before the first step.
      method: "associative": log₂ T levels of products (Blelloch, 1990; Martin and Cundy, 2018);
        "blocks": about √T blocks side by side, step by step within them; "steps": one after another.
      reverse: from the last step to the first.

    Returns:
      n arrays `[T, ...]`, the state after every step.
    """
    if reverse:
        flipped = linear_scan(
            [[x[::-1] for x in row] for row in a], [x[::-1] for x in b], start, method=method
        )
        return [x[::-1] for x in flipped]
    if method == "steps":
        return _by_steps(a, b, start)
    if method == "blocks":
        return _in_blocks(a, b, start)
    first = _apply([[x[0] for x in row] for row in a], start)
    b = [x.at[0].add(f) for x, f in zip(b, first, strict=True)]
    _, states = lax.associative_scan(_join, (a, b))
    return list(states)


def _apply(a: Matrix, s: Sequence[Array]) -> list[Array]:
    products = ([x * y for x, y in zip(row, s, strict=True)] for row in a)
    return [functools.reduce(operator.add, row) for row in products]


def _join(earlier: tuple, later: tuple) -> tuple:
    """The map that is one affine map after another."""
    (a1, b1), (a2, b2) = earlier, later
    columns = list(zip(*a1, strict=True))
    product = [_apply(columns, row) for row in a2]
    return product, [x + y for x, y in zip(_apply(a2, b1), b2, strict=True)]


def _by_steps(a: Matrix, b: Sequence[Array], start: Sequence[Array]) -> list[Array]:
    def step(s: list[Array], ab: tuple) -> tuple[list[Array], list[Array]]:
        a, b = ab
        s = [x + y for x, y in zip(_apply(a, s), b, strict=True)]
        return s, s

    return lax.scan(step, list(start), (list(map(list, a)), list(b)), unroll=8)[1]


def _in_blocks(a: Matrix, b: Sequence[Array], start: Sequence[Array]) -> list[Array]:
    """Every block from a state of zero, with the product of its A; then the true states, from block to block."""
    n, num_steps = len(b), b[0].shape[0]
    blocks = max(1, round(num_steps**0.5))
    size = -(-num_steps // blocks)
    padding = blocks * size - num_steps
    eye = [[float(i == j) for j in range(n)] for i in range(n)]

    def cut(x: Array, fill: float) -> Array:
        """`[T, ...]` as `[size, blocks, ...]`, filled up at the end."""
        tail = jnp.full((padding, *x.shape[1:]), fill, x.dtype)
        return jnp.concatenate([x, tail]).reshape(blocks, size, *x.shape[1:]).swapaxes(0, 1)

    a = [[cut(x, eye[i][j]) for j, x in enumerate(row)] for i, row in enumerate(a)]
    b = [cut(x, 0) for x in b]
    zeros = [jnp.zeros(x.shape[1:], x.dtype) for x in b]
    ones = [[jnp.full_like(zeros[i], eye[i][j]) for j in range(n)] for i in range(n)]

    def step(carry: tuple, ab: tuple) -> tuple[tuple, tuple]:
        return (joined := _join(carry, ab)), joined

    within: tuple = lax.scan(step, (ones, zeros), (a, b))[1]
    within_a, within_b = within
    ends = ([[x[-1] for x in row] for row in within_a], [x[-1] for x in within_b])

    def across(s: list[Array], ab: tuple) -> tuple[list[Array], list[Array]]:
        return [x + y for x, y in zip(_apply(ab[0], s), ab[1], strict=True)], s

    _, before = lax.scan(across, list(start), ends)  # the state before each block
    states = [x + y for x, y in zip(_apply(within_a, before), within_b, strict=True)]
    return [x.swapaxes(0, 1).reshape(blocks * size, *x.shape[2:])[:num_steps] for x in states]


def default_method() -> str:
    """What suits the device: a CPU has few cores to share the levels of an associative scan."""
    return "blocks" if jax.default_backend() == "cpu" else "associative"
