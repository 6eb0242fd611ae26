"""Selective copying (Gu and Dao, 2023): what a recurrence without the state in its gates can keep."""

import bisect
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from seqjax import init as initializers
from seqjax.cells import CELLS
from seqjax.losses import next_token_losses
from seqjax.recurrence.unroll import unroll
from seqjax.tasks.recall import selective_copying
from seqjax.types import Array, Params

CLASSES, LAYERS = 16, 3
WIDTH = 64
PARAMETERS = 60_000  # of the three recurrent layers of every cell, as near as whole units come


def measured(
    name: str, key: Array, *, length: int, symbols: int, num_steps: int, batch: int
) -> dict[str, Any]:
    """Trains a network on new strings; the share of symbols given back on others.

    Three layers, each `x + W_out cell(norm(x))`, as the blocks of the models that the task is from.
    """
    size = size_of(name)
    cell = CELLS[name](size)
    draw = partial(selective_copying, num_symbols=symbols, num_classes=CLASSES)
    keys = jax.random.split(key, 2 * LAYERS + 3)
    lecun = initializers.lecun_normal()
    params = {
        "embedding": jax.random.normal(keys[0], (CLASSES, WIDTH)),
        "layers": [
            {
                "cell": cell.init(keys[2 * i + 1], WIDTH),
                "out": lecun(keys[2 * i + 2], (cell.output_size, WIDTH)),
            }
            for i in range(LAYERS)
        ],
        "head": lecun(keys[-2], (WIDTH, CLASSES)),
    }
    schedule = optax.warmup_cosine_decay_schedule(0, 0.003, num_steps // 20, num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def logits_of(params: Params, inputs: Array) -> Array:
        x = inputs @ params["embedding"]
        for layer in params["layers"]:
            normed = x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)
            x = x + unroll(cell, layer["cell"], normed)[1] @ layer["out"]
        return x @ params["head"]

    def loss_of(params: Params, key: Array) -> Array:
        episode = draw(key, batch, length)
        losses = next_token_losses(logits_of(params, episode.inputs), episode.targets)
        return jnp.sum(losses * episode.weights) / jnp.sum(episode.weights)

    def update(carry: tuple, key: Array) -> tuple[tuple, Array]:
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, key)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    train_keys = jax.random.split(keys[-1], num_steps)
    start = params, optimizer.init(params)
    (params, _), losses = jax.jit(partial(lax.scan, update))(start, train_keys)
    episode = draw(jax.random.fold_in(key, 1), 500, length)
    right = jax.jit(logits_of)(params, episode.inputs).argmax(-1) == episode.targets
    accuracy = jnp.sum(right * episode.weights) / jnp.sum(episode.weights)
    return {
        "accuracy": float(accuracy),
        "loss": float(losses[-50:].mean()),
        "units": size,
        "parameters": _count(name, size),
    }


def _count(name: str, size: int) -> int:
    """The parameters of the recurrent layers, with the matrices that lead out of them."""
    cell = CELLS[name](size)
    params = jax.eval_shape(lambda key: cell.init(key, WIDTH), jax.random.key(0))
    return LAYERS * (sum(a.size for a in jax.tree.leaves(params)) + cell.output_size * WIDTH)


def size_of(name: str) -> int:
    """The number of units whose parameters come nearest to PARAMETERS."""
    sizes = range(4, 257, 4)
    above = bisect.bisect(sizes, PARAMETERS, key=lambda size: _count(name, size))
    near = sizes[max(above - 1, 0) : above + 1]
    return min(near, key=lambda size: abs(_count(name, size) - PARAMETERS))
