"""The Jacobian of a later state with respect to an earlier one, without under- or overflow.

    ∂s_T/∂s_k = J_{T-1} ⋯ J_{k+1} J_k        Jₜ = ∂s_{t+1}/∂sₜ

s is the whole state as one vector of N numbers: the floating-point leaves of the pytree, in its
order, laid end to end (an LSTM's h, then its c: N = 2H). s_0 is the state before the first step,
so that row k of what follows belongs to the state that `xs[k]` meets, T - k steps before the end.

A product of many Jacobians leaves the range of floating point soon (0.1^39 is below float32), its
logarithm does not. Products are rescaled at every step by a power of two, which is exact, and the
powers are counted as integers: what rounding is left is that of the products alone.
"""

import math
from collections.abc import Callable
from functools import reduce
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.errors import InputError
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params, State


class StateJacobians(NamedTuple):
    """∂s_T/∂s_k = exp(log_norm[k]) · matrix[k] for every k.

    Where the Jacobian is zero (every ReLU off), matrix is zero and log_norm is -inf.
    """

    matrix: Array  # [T, ..., N, N], Frobenius norm 1
    log_norm: Array  # [T, ...], natural logarithm of the Frobenius norm


def trajectory(cell: Cell, params: Params, xs: Array, state: State | None = None) -> State:
    """The state before each step: the leaves of `state`, `[..., H]`, as `[T, ..., H]`.

    Args:
      cell: any cell.
      params: from `cell.init`.
      xs: inputs `[T, ..., D]`, any number of batch axes.
      state: the state before the first step; `cell.initial_state` if None.

    Raises:
      InputError: as `unroll`.
    """

    def step(params: Params, state: State, x: Array) -> tuple[State, State]:
        return cell.step(params, state, x)[0], state

    return unroll(cell._replace(step=step), params, xs, state)[1]


def step_jacobians(cell: Cell, params: Params, xs: Array, state: State | None = None) -> Array:
    """Jₜ = ∂s_{t+1}/∂sₜ of every step, `[T, ..., N, N]`; arguments as `trajectory`."""
    states = trajectory(cell, params, xs, state)
    return jax.vmap(_jacobian(cell, params, xs.ndim - 2))(states, xs)


def state_jacobians(
    cell: Cell, params: Params, xs: Array, state: State | None = None
) -> StateJacobians:
    """∂s_T/∂s_k for every k; arguments as `trajectory`.

    Directions whose gain is below about N·ε of the largest (ε = 1e-7 in float32, 2e-16 in
    float64) are rounding error.
    """

    def read(product: Array, exponent: Array) -> StateJacobians:
        return StateJacobians(*normalise(product, exponent, axes=2))

    return _backwards(cell, params, xs, state, read)


def log_singular_values(cell: Cell, params: Params, xs: Array, state: State | None = None) -> Array:
    """log σ of ∂s_T/∂s_k, `[T, ..., N]`, falling; arguments as `trajectory`.

    `[..., 0]` is the logarithm of the spectral norm ‖∂s_T/∂s_k‖₂, however small or large. The
    others are resolved as far as N·ε of it, where floating point ends (ε = 1e-7 in float32,
    2e-16 in float64), and are -inf below. For the growth rates of all directions over a long
    time, see `lyapunov_exponents`.
    """

    def read(product: Array, exponent: Array) -> Array:
        sigma = jnp.linalg.svd(product, compute_uv=False)
        resolved = sigma > sigma.shape[-1] * jnp.finfo(sigma.dtype).eps * sigma[..., :1]
        return log_scaled(jnp.where(resolved, sigma, 0), exponent[..., None])

    return _backwards(cell, params, xs, state, read)


def lyapunov_exponents(
    cell: Cell, params: Params, xs: Array, state: State | None = None, *, burn_in: int = 0
) -> Array:
    """The N Lyapunov exponents of each row, `[..., N]`, in nats per step, falling.

    The mean growth rates of the directions of the state: all below zero, gradients vanish; one
    above, they explode. Computed by a QR factorisation at every step, Jₜ Qₜ = Qₜ₊₁ Rₜ,
    λᵢ = mean log |Rₜ,ᵢᵢ| (Benettin et al., 1980), so that none is lost beside the largest. They
    are those of the given T steps; how far from the limit falls as 1/T. -inf for a direction
    that is cut off (a ReLU that is off).

    Args:
      cell: as `trajectory`.
      params: as `trajectory`.
      xs: as `trajectory`.
      state: as `trajectory`.
      burn_in: the first steps, which turn Q into the right directions but are not counted.

    Raises:
      InputError: if burn_in leaves no step to count, and as `unroll`.
    """
    states = trajectory(cell, params, xs, state)
    if not 0 <= burn_in < len(xs):
        raise InputError(
            f"burn_in must be at least 0 and below the number of steps, {len(xs)}, got {burn_in}."
        )
    jacobian = _jacobian(cell, params, xs.ndim - 2)

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        q, product, exponent = carry
        t, state, x = inputs
        q, r = jnp.linalg.qr(jacobian(state, x) @ q)
        growth = jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1))
        product, power = rescale(product * jnp.where(t < burn_in, 1, growth), axes=0)
        return (q, product, exponent + power), None

    q = _identity(jacobian, states, xs)
    start = (q, jnp.ones(q.shape[:-1], q.dtype), jnp.zeros(q.shape[:-1], jnp.int32))
    (_, product, exponent), _ = lax.scan(step, start, (jnp.arange(len(xs)), states, xs))
    exponents = log_scaled(product, exponent) / (len(xs) - burn_in)
    return jnp.sort(exponents, axis=-1, descending=True)


def flatten(state: State, batch_axes: int = 0) -> tuple[Array, Callable[[Array], State]]:
    """A state as vectors `[..., N]`, and back. Leaves that are not floating stay as they are."""
    leaves, tree = jax.tree.flatten(state)
    moving = [i for i, a in enumerate(leaves) if jnp.issubdtype(a.dtype, jnp.floating)]
    dtype = reduce(jnp.promote_types, (leaves[i].dtype for i in moving))
    rows = [leaves[i].reshape(*leaves[i].shape[:batch_axes], -1).astype(dtype) for i in moving]
    ends = list(accumulate(row.shape[-1] for row in rows))[:-1]

    def rebuild(vector: Array) -> State:
        new = list(leaves)
        for i, row in zip(moving, jnp.split(vector, ends, axis=-1), strict=True):
            new[i] = row.reshape(leaves[i].shape).astype(leaves[i].dtype)
        return jax.tree.unflatten(tree, new)

    return jnp.concatenate(rows, axis=-1), rebuild


def _jacobian(cell: Cell, params: Params, batch_axes: int) -> Callable[[State, Array], Array]:
    """`(state, x) -> J [..., N, N]` of one step."""

    def jacobian(state: State, x: Array) -> Array:
        vector, rebuild = flatten(state)
        return jax.jacrev(lambda v: flatten(cell.step(params, rebuild(v), x)[0])[0])(vector)

    for _ in range(batch_axes):
        jacobian = jax.vmap(jacobian)
    return jacobian


def _backwards(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None,
    read: Callable[[Array, Array], Any],
) -> Any:
    """`read(product, exponent)` of ∂s_T/∂s_k = 2^exponent · product for every k, by one scan."""
    states = trajectory(cell, params, xs, state)
    jacobian = _jacobian(cell, params, xs.ndim - 2)

    def step(later: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], Any]:
        product, exponent = later
        product, power = rescale(product @ jacobian(*inputs), axes=2)
        earlier = product, exponent + power
        return earlier, read(*earlier)

    q = _identity(jacobian, states, xs)
    start = (q, jnp.zeros(q.shape[:-2], jnp.int32))
    return lax.scan(step, start, (states, xs), reverse=True)[1]


def _identity(jacobian: Callable, states: State, xs: Array) -> Array:
    first = jax.eval_shape(jacobian, *jax.tree.map(lambda a: a[0], (states, xs)))
    return jnp.broadcast_to(jnp.eye(first.shape[-1], dtype=first.dtype), first.shape)


def rescale(a: Array, axes: int) -> tuple[Array, Array]:
    """`(a / 2^e, e)` with the largest magnitude in the last `axes` axes in [1/2, 1); 0 stays 0."""
    last = tuple(range(-axes, 0))
    _, exponent = jnp.frexp(jnp.max(jnp.abs(a), axis=last, keepdims=True))
    return jnp.ldexp(a, -exponent), jnp.squeeze(exponent, last)


def normalise(a: Array, exponent: Array, axes: int) -> tuple[Array, Array]:
    """Rescaled `a` over its norm in the last axes, and the logarithm of the norm of 2^exponent·a."""
    last = tuple(range(-axes, 0))
    norm = jnp.sqrt(jnp.sum(a**2, axis=last, keepdims=True))
    unit = a / jnp.where(norm > 0, norm, 1)
    return unit, log_scaled(jnp.squeeze(norm, last), exponent)


def log_scaled(a: Array, exponent: Array) -> Array:
    """log(2^exponent·a) for a >= 0; -inf at zero, silently so under `jax_debug_nans` too."""
    log_a = jnp.log(jnp.where(a > 0, a, 1)) + math.log(2) * exponent.astype(a.dtype)
    return jnp.where(a > 0, log_a, -jnp.inf)
