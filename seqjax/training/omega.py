"""Ω, the regulariser that keeps back-propagated gradients level (Pascanu, Mikolov and Bengio, 2013).

    xₜ = W uₜ + U φ(xₜ₋₁) + b                                                    (their eq. 2)
    Ω = Σₖ (‖∂E/∂xₖ₊₁ · ∂xₖ₊₁/∂xₖ‖ / ‖∂E/∂xₖ₊₁‖ - 1)²       ∂xₖ₊₁/∂xₖ = U diag φ'(xₖ)  (their eq. 9)

x are the pre-activations of the Elman network of `seqjax.rnn`, whose hₜ is φ(xₜ). Of Ω only the
immediate derivative with respect to U is taken (their eq. 10): xₖ and ∂E/∂xₖ₊₁ are held constant,
so that Ω can be lowered by U alone, and costs one more product.

The authors' code differs: it measures ∂E/∂h instead of ∂E/∂x, from h₀ on, compares squared norms,
and divides by the number of steps that still have a gradient. That is `form="code"`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.cells.rnn import RNNState
from seqjax.errors import InputError
from seqjax.fast_scan.scan import scan
from seqjax.types import Array, Params, float32_or_wider

FORMS = ("paper", "code")
Activation = Callable[[Array], Array]


class Gradients(NamedTuple):
    loss: Array  # E
    omega: Array  # Ω, before its weight
    cell: Params  # of E + weight · Ω
    readout: Params  # of E
    delta: Array  # [T, ..., H], ∂E/∂hₜ


def omega(
    u: Array, delta: Array, slope: Array, *, form: str = "paper", floor: float = 1e-20
) -> Array:
    """Ω, to be differentiated with respect to `u` alone.

    Args:
      u: U `[H, H]`, rows from, columns to.
      delta: ∂E/∂hₜ `[T, ..., H]`, the total derivative, of a loss that is a mean over the batch or
        not: only its direction counts.
      slope: φ'(xₜ) `[T, ..., H]`.
      form: "paper" or "code", see above.
      floor: steps whose ‖∂E/∂xₖ₊₁‖² (of "code", ‖∂E/∂hₖ₊₁‖²) is smaller are left out, as in the
        code: where the gradient has vanished there is no ratio.

    Returns:
      A scalar, the mean over the batch axes; "paper": of sums over time, "code": of means over the
      steps that are not left out.

    Raises:
      InputError: for another form.
    """
    if form not in FORMS:
        raise InputError(f"unknown form {form!r} of omega; choose one of {', '.join(FORMS)}.")
    # the squares of small gradients are 0 in half precision
    u, delta, slope = (x.astype(float32_or_wider(x)) for x in (u, delta, slope))
    delta, slope = lax.stop_gradient((delta, slope))
    delta_x = delta * slope
    back = delta_x @ u.T  # ∂E/∂xₖ₊₁ · ∂xₖ₊₁/∂hₖ, from h₀ on
    if form == "paper":
        back, after = back[1:] * slope[:-1], _square(delta_x[1:])
    else:
        after = _square(delta)
    live = after >= floor
    ratio = _square(back) / jnp.where(live, after, 1.0)
    if form == "paper":
        # The inner `where` keeps the root's infinite slope at zero out of the gradient.
        ratio = jnp.where(ratio > 0, jnp.sqrt(jnp.where(ratio > 0, ratio, 1.0)), 0.0)
    terms = jnp.where(live, (ratio - 1) ** 2, 0.0)
    if form == "paper":
        return terms.sum(axis=0).mean()
    return terms.sum() / jnp.maximum(live.sum(), 1)


def value_and_grad(
    loss_fn: Callable[[Any, Array], Array],
    activation: Activation,
    weight: float | Array,
    *,
    form: str = "paper",
) -> Callable[..., Gradients]:
    """Builds the gradient of E + weight · Ω for an Elman network, clipping left to the optimizer.

    With weight 0 it is the gradient of E, bit for bit.

    Args:
      loss_fn: `(readout, hs [T, ..., H]) -> E`, where readout are the parameters outside the cell.
      activation: the cell's φ, elementwise.
      weight: of Ω; the paper has 4, the code 2.
      form: see `omega`.

    Returns:
      `(cell_params, readout, xs [T, ..., D]) -> Gradients`, cell_params from `rnn(H, φ).init`; the
      state starts from zeros.
    """

    def gradients(cell: Params, readout: Any, xs: Array) -> Gradients:
        def loss(cell: Params, readout: Any, nudges: Array) -> tuple[Array, Array]:
            hs, before = nudged(activation, cell, xs, nudges)
            return loss_fn(readout, hs), before

        dtype = jnp.result_type(xs, *jax.tree.leaves(cell))
        nudges = jnp.zeros((*xs.shape[:-1], cell["u"].shape[0]), dtype)
        differentiate = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
        (value, before), (grads, readout_grads, delta) = differentiate(cell, readout, nudges)
        slope = jax.jvp(activation, (before,), (jnp.ones_like(before),))[1]
        penalty, u_grad = jax.value_and_grad(omega)(cell["u"], delta, slope, form=form)
        grads = grads | {"u": grads["u"] + (weight * u_grad).astype(grads["u"].dtype)}
        return Gradients(value, penalty, grads, readout_grads, delta)

    return gradients


def nudged(activation: Activation, cell: Params, xs: Array, nudges: Array) -> tuple[Array, Array]:
    """An Elman network from a zero state with hₜ = φ(xₜ) + nudgeₜ: hs and xs, both `[T, ..., H]`.

    The derivative of a loss with respect to the nudges, at zero, is ∂E/∂hₜ.
    """

    def step(params: Params, state: RNNState, inputs: tuple) -> tuple[RNNState, tuple]:
        x, nudge = inputs
        before = x @ params["w"] + state.h @ params["u"] + params["b"]
        h = activation(before) + nudge
        return RNNState(h), (h, lax.stop_gradient(before))

    start = RNNState(jnp.zeros_like(nudges[0]))
    return scan(step, cell, start, (xs, nudges))[1]


def _square(vectors: Array) -> Array:
    return jnp.sum(vectors**2, axis=-1)
