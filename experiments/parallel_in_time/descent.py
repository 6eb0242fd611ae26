"""Training in one compiled program: every update reads data drawn from a key of its own."""

from collections.abc import Callable

import jax
import optax
from jax import lax

from seqjax.types import Array, Params


def descend(
    loss_of: Callable[[Params, Array], Array],
    params: Params,
    optimizer: optax.GradientTransformation,
    key: Array,
    num_steps: int,
) -> tuple[Params, Array]:
    """Parameters after `num_steps` updates on `loss_of(params, key)`, and the loss of each update."""

    def update(carry: tuple, key: Array) -> tuple[tuple, Array]:
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, key)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    start = params, optimizer.init(params)
    keys = jax.random.split(key, num_steps)
    (params, _), losses = jax.jit(lambda start, keys: lax.scan(update, start, keys))(start, keys)
    return params, losses
