"""The network of the benchmark, an LSTM and a sigmoid layer over 88 notes, and its update."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax import lstm, unroll
from seqjax.losses import binary_cross_entropy
from seqjax.types import Array

NOTES = 88
MOMENTUM = 0.9


def first_weights(hidden: int, key: Array) -> Any:
    """Parameters: an LSTM's under "cell", and "w" `[H, 88]` and "b" `[88]`."""
    cell_key, head_key = jax.random.split(key)
    return {
        "cell": lstm(hidden).init(cell_key, NOTES),
        "w": 0.1 * jax.random.normal(head_key, (hidden, NOTES)),
        "b": jnp.zeros(NOTES),
    }


def by_seqjax(hidden: int) -> Callable:
    """An LSTM over time by `unroll`, `(params, xs) -> ys`."""
    return lambda params, xs: unroll(lstm(hidden), params, xs)[1]


def by_scan(hidden: int) -> Callable:
    """The same by the plain `lax.scan`."""
    cell = lstm(hidden)

    def run(params: Any, xs: Array) -> Array:
        step = partial(cell.step, params)
        return lax.scan(step, cell.initial_state(xs.shape[1:-1]), xs)[1]

    return run


def loss_of(run: Callable, params: Any, xs: Array, ys: Array) -> Array:
    """The nats of the notes, summed over notes and time, averaged over the batch."""
    logits = run(params["cell"], xs) @ params["w"] + params["b"]
    return binary_cross_entropy(logits, ys).sum() / xs.shape[1]


def gradients_by(run: Callable) -> Callable:
    """`(params, xs, ys) -> gradients`, where `run` is one of the two above."""
    return jax.grad(partial(loss_of, run))


def update_of(
    gradients: Callable, params: Any, velocity: Any, rate: Array, xs: Array, ys: Array
) -> tuple[Any, Any]:
    """One update of one network by gradient descent with momentum."""
    grads = gradients(params, xs, ys)
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
    params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
    return params, velocity
