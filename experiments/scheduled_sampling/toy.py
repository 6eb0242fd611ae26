"""Two symbols, in closed form: scheduled sampling does not learn the distribution (Huszár, 2015).

Sequences are x_1 x_2, each 0 or 1. With probability p the network reads the true x_1 before it is asked
for the true x_2, and otherwise an x_1 of its own, which has nothing to do with that x_2. What minimises
the expected loss is then

    Q(x_1) = P(x_1),   Q(x_2 | x_1) = p P(x_2 | x_1) + (1 - p) P(x_2)

since its own x_1 is drawn from Q(x_1) = P(x_1): the truth at p = 1, and at p = 0 an x_2 that knows
nothing of x_1.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.scheduled_sampling.training import train
from seqjax.cells import CELLS
from seqjax.models import LanguageModel
from seqjax.training.modules import merge_model
from seqjax.training.scheduled_sampling import mix_tokens
from seqjax.types import Array, Params

FIRST = np.array([0.4, 0.6])  # P(x_1)
SECOND = np.array([[0.9, 0.1], [0.2, 0.8]])  # P(x_2 | x_1), a row for each x_1
START = 2  # the token before x_1
BATCH_SIZE = 512


def closed_form(p: float) -> np.ndarray:
    """Q(x_2 | x_1) `[2, 2]`."""
    return p * SECOND + (1 - p) * (FIRST @ SECOND)


def measured(p: float, *, seeds: range, num_steps: int, key: Array) -> dict[str, Any]:
    """What networks trained with a constant p give: Q(x_1 = 1), and Q(x_2 = 1 | x_1) for each x_1."""

    def make(seed: int) -> LanguageModel:
        return LanguageModel(3, [CELLS["rnn"](8)], embedding_size=8, rngs=nnx.Rngs(seed))

    def loss(model: LanguageModel, update: Array, key: Array) -> Array:
        del update
        first_key, second_key, mix_key = jax.random.split(key, 3)
        first = jax.random.bernoulli(first_key, FIRST[1], (BATCH_SIZE,)).astype(jnp.int32)
        ones = jnp.asarray(SECOND[:, 1])[first]
        second = jax.random.bernoulli(second_key, ones).astype(jnp.int32)
        true = jnp.stack([jnp.full(BATCH_SIZE, START), first], 1)
        state = model.initial_state(BATCH_SIZE)

        def step(state: Any, token: Array) -> tuple[Any, Array]:
            state, logits = model.step(token, state)
            return state, logits.at[:, START].set(-jnp.inf)

        read = mix_tokens(step, state, true, mix_key, probability=p)
        log_p = jax.nn.log_softmax(model(read)[1][..., :START])
        written = jnp.stack([first, second], 1)
        return -jnp.take_along_axis(log_p, written[..., None], -1).sum(1).mean()

    split, params = train(make, loss, seeds=seeds, num_steps=num_steps, learning_rate=0.01, key=key)

    @jax.vmap
    def probabilities(params: Params) -> Array:
        model = merge_model(split, params)
        tokens = jnp.array([[START, 0], [START, 1]])
        q = jax.nn.softmax(model(tokens)[1][..., :START])[..., 1]
        return jnp.stack([q[0, 0], q[0, 1], q[1, 1]])

    found = np.asarray(probabilities(params), float)
    return {"p": p, "first": found[:, 0].tolist(), "second": found[:, 1:].tolist()}
