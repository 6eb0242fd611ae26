"""The network of parts 3, 4 and 6: recurrent layers of any cell in residual blocks, all of about one size.

Each layer is `x + W_out cell(norm(x))`, as the blocks of the models that the tasks are from.
"""

import bisect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.parallel_in_time.descent import descend
from seqjax import init as initializers
from seqjax.cells import CELLS
from seqjax.losses import next_token_losses
from seqjax.recurrence.unroll import unroll
from seqjax.tasks.episode import Episode
from seqjax.types import Array, Cell, Params

WIDTH = 64
PARAMETERS_OF_A_LAYER = 20_000  # as near as whole units come


def init(key: Array, cell: Cell, layers: int, num_inputs: int, num_classes: int) -> Params:
    keys = jax.random.split(key, 2 * layers + 2)
    lecun = initializers.lecun_normal()
    return {
        "embedding": jax.random.normal(keys[0], (num_inputs, WIDTH)),
        "layers": [
            {
                "cell": cell.init(keys[2 * i + 1], WIDTH),
                "out": lecun(keys[2 * i + 2], (cell.output_size, WIDTH)),
            }
            for i in range(layers)
        ],
        "head": lecun(keys[-1], (WIDTH, num_classes)),
    }


def logits_of(cell: Cell, params: Params, inputs: Array) -> Array:
    """`inputs [T, B, D] -> logits [T, B, C]`."""
    x = inputs @ params["embedding"]
    for layer in params["layers"]:
        normed = x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)
        x = x + unroll(cell, layer["cell"], normed)[1] @ layer["out"]
    return x @ params["head"]


def trained(
    cell: Cell, params: Params, draw: Callable[[Array], Episode], key: Array, num_steps: int
) -> tuple[Params, Array]:
    """Parameters after updates on new episodes each, and the loss of every update."""
    schedule = optax.warmup_cosine_decay_schedule(0, 0.003, num_steps // 20, num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss_of(params: Params, key: Array) -> Array:
        episode = draw(key)
        losses = next_token_losses(logits_of(cell, params, episode.inputs), episode.targets)
        return jnp.sum(losses * episode.weights) / jnp.sum(episode.weights)

    return descend(loss_of, params, optimizer, key, num_steps)


_logits_of = jax.jit(logits_of, static_argnums=0)


def right_of(cell: Cell, params: Params, episode: Episode) -> Array:
    """Whether each answer is right, `[T, B]`; False where none counts."""
    logits = _logits_of(cell, params, episode.inputs)
    return (logits.argmax(-1) == episode.targets) & (episode.weights > 0)


def count(name: str, size: int, layers: int) -> int:
    """The parameters of the recurrent layers, with the matrices that lead out of them."""
    cell = CELLS[name](size)
    params: Any = jax.eval_shape(lambda key: cell.init(key, WIDTH), jax.random.key(0))
    return layers * (sum(a.size for a in jax.tree.leaves(params)) + cell.output_size * WIDTH)


def size_of(name: str) -> int:
    """The number of units whose parameters come nearest to those of a layer."""
    sizes = range(4, 257, 4)
    above = bisect.bisect(sizes, PARAMETERS_OF_A_LAYER, key=lambda size: count(name, size, 1))
    near = sizes[max(above - 1, 0) : above + 1]
    return min(near, key=lambda size: abs(count(name, size, 1) - PARAMETERS_OF_A_LAYER))
