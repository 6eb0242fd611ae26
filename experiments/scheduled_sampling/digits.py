"""Digits to be written backwards, through one vector: a task on which a network errs."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.scheduled_sampling.training import train
from seqjax.cells import CELLS
from seqjax.models import EncoderDecoder
from seqjax.training.modules import merge_model
from seqjax.training.scheduled_sampling import make_truth_schedule, mix_tokens
from seqjax.types import Array, Params

LENGTH = 8
DIGITS = 10
START = DIGITS
HIDDEN = 48
BATCH_SIZE = 64
NUM_TEST = 1000
LEARNING_RATE = 5e-3
FASTEST = 0.25  # p at the end of training, of schedules that fall


def make_schedule(name: str, num_steps: int) -> Any:
    """The truth's probability at each update, by the name of a network."""
    if name == "teacher forcing":
        return make_truth_schedule("constant", num_steps)
    if name == "constant":
        return make_truth_schedule("constant", num_steps, first=0.5)
    schedule = make_truth_schedule(name, num_steps, last=FASTEST)
    return lambda update: jnp.maximum(FASTEST, schedule(update))


NAMES = ("teacher forcing", "constant", "linear", "exponential", "inverse_sigmoid")


def measured(
    name: str, *, seeds: range, num_steps: int, sample: bool, key: Array
) -> dict[str, list[float]]:
    """Trains by one schedule, and tests: a number for each seed.

    "exact": the share of numbers written backwards without an error, greedily. "true_prefix" and
    "own_prefix": nats of each true digit where the network reads the true digits before it, or those that
    it draws itself.
    """
    schedule = make_schedule(name, num_steps)
    cells = [CELLS["gru"](HIDDEN)]

    def make(seed: int) -> EncoderDecoder:
        return EncoderDecoder(
            DIGITS, DIGITS + 1, cells, cells, embedding_size=16, rngs=nnx.Rngs(seed)
        )

    def loss(model: EncoderDecoder, update: Array, key: Array) -> Array:
        batch_key, mix_key = jax.random.split(key)
        digits = jax.random.randint(batch_key, (BATCH_SIZE, LENGTH), 0, DIGITS)
        read = true = with_start(digits)
        if name != "teacher forcing":
            p = schedule(update)
            read = mix_tokens(*writer(model, digits), true, mix_key, probability=p, sample=sample)
        return nats(model, digits, read).mean()

    split, params = train(
        make, loss, seeds=seeds, num_steps=num_steps, learning_rate=LEARNING_RATE, key=key
    )
    digits = jnp.asarray(np.random.default_rng(0).integers(DIGITS, size=(NUM_TEST, LENGTH)))

    @jax.jit
    @jax.vmap
    def test(params: Params) -> dict[str, Array]:
        model = merge_model(split, params)
        step, state = writer(model, digits)
        true, draw_key = with_start(digits), jax.random.key(1)
        own = mix_tokens(step, state, true, draw_key, probability=0.0)
        padded = jnp.concatenate([true, true[:, :1]], 1)  # one more, to see the last token, too
        greedy = mix_tokens(step, state, padded, draw_key, probability=0.0, sample=False)
        return {
            "exact": jnp.all(greedy[:, 1:] == digits[:, ::-1], 1).mean(),
            "true_prefix": nats(model, digits, true).mean(),
            "own_prefix": nats(model, digits, own).mean(),
        }

    return {key: np.asarray(value, float).tolist() for key, value in test(params).items()}


def with_start(digits: Array) -> Array:
    """What is read under teacher forcing, where `digits [B, T]` are to be written backwards."""
    start = jnp.full((len(digits), 1), START, digits.dtype)
    return jnp.concatenate([start, digits[:, :0:-1]], 1)


def writer(model: EncoderDecoder, digits: Array) -> tuple[Any, Any]:
    """The step of a model that has read some digits, and its first state."""
    context, state = model.encode(digits, jnp.full(len(digits), LENGTH))
    return partial(model.step, context), state


def nats(model: EncoderDecoder, digits: Array, read: Array) -> Array:
    """-ln p of each digit to be written `[B, T]`, after the tokens that are read."""
    log_p = jax.nn.log_softmax(model(digits, jnp.full(len(digits), LENGTH), read))
    return -jnp.take_along_axis(log_p, digits[:, ::-1, None], -1)[..., 0]
