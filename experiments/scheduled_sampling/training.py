"""Networks from several seeds, trained side by side in one compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from seqjax.training.modules import merge_model, split_model
from seqjax.types import Array, Params

# `(model, update, key) -> loss`; the batch is drawn from the key
Loss = Callable[[Any, Array, Array], Array]


def train(
    make: Callable[[int], nnx.Module],
    loss: Loss,
    *,
    seeds: range,
    num_steps: int,
    learning_rate: float,
    key: Array,
) -> tuple[Any, Params]:
    """Trains one network for each seed; returns the split model and the parameters `[seeds, ...]`.

    Args:
      make: `seed -> model`.
      loss: the scalar that falls.
      seeds: one of each network.
      num_steps: updates of Adam, at a rate that falls to zero by a cosine.
      learning_rate: the highest one.
      key: of batches and coins.
    """
    splits = [split_model(make(seed)) for seed in seeds]
    first = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(split.params for split in splits))
    rate = optax.cosine_decay_schedule(learning_rate, num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    def update(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        (params, opt_state), (number, key) = carry, inputs
        grads = jax.grad(lambda p: loss(merge_model(splits[0], p), number, key))(params)
        changes, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, changes), opt_state), None

    @jax.jit
    @jax.vmap
    def trained(params: Params, key: Array) -> Params:
        steps = jnp.arange(num_steps), jax.random.split(key, num_steps)
        return lax.scan(update, (params, optimizer.init(params)), steps)[0][0]

    return splits[0], trained(first, jax.random.split(key, len(seeds)))
