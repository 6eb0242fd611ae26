"""The loss, the evaluation and the sampling of a language model, as pure functions.

`seqjax.training.modules.split_model` gives `graphdef` and the parameters; the functions here merge them
again.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from seqjax.data.batches import Rows, TokenBatch, batch_at
from seqjax.decode.beam import Beams, beam_search
from seqjax.decode.sampling import generate
from seqjax.errors import InputError
from seqjax.losses import next_token_losses
from seqjax.training.step import LossFn
from seqjax.types import Array, Params, State


def make_loss(graphdef: Any) -> LossFn:
    """The loss of truncated BPTT: the state is carried from batch to batch, its gradient cut.

    The objective is the sum over the steps of a sequence and the mean over the batch, as in
    Zaremba et al. (2014) and char-rnn, whose learning rates and clipping limits it makes valid;
    the metric "loss" is the mean per token, in nats.
    """

    def loss_fn(
        params: Params, carry: State, batch: TokenBatch, key: Array
    ) -> tuple[Array, tuple[State, dict[str, Array]]]:
        model = nnx.merge(graphdef, params)
        state = jax.tree.map(
            lambda start, carried: jnp.where(batch.first, start, carried),
            model.initial_state(batch.inputs.shape[0]),
            carry,
        )
        state, logits = model(batch.inputs, state, dropout_key=key)
        losses = next_token_losses(logits, batch.targets)
        return losses.sum(1).mean(), (state, {"loss": losses.mean()})

    return loss_fn


def make_evaluate(graphdef: Any, seq_len: int) -> Callable[[Params, Rows], Array]:
    """Builds `evaluate(params, rows) -> mean loss per token in nats`, state carried throughout.

    Raises:
      InputError: when it is called, if `seq_len` does not divide the length of the rows: `evaluation_rows` makes
        such as it does.
    """

    @jax.jit
    def evaluate(params: Params, rows: Rows) -> Array:
        model = nnx.merge(graphdef, params)
        num_windows, rest = divmod(rows.inputs.shape[1], seq_len)
        if rest or not num_windows:
            raise InputError(
                f"rows of {rows.inputs.shape[1]} tokens do not divide by seq_len={seq_len}."
            )

        def window(state: State, step: Array) -> tuple[State, Array]:
            batch = batch_at(rows, seq_len, step)
            state, logits = model(batch.inputs, state)
            return state, jnp.sum(next_token_losses(logits, batch.targets) * batch.weights)

        state = model.initial_state(rows.inputs.shape[0])
        _, sums = lax.scan(window, state, jnp.arange(num_windows))
        return jnp.sum(sums) / jnp.sum(rows.weights)

    return evaluate


def make_sample(
    graphdef: Any, *, length: int, **choice: Any
) -> Callable[[Params, Array, Array], Array]:
    """Builds `sample(params, prime [B, T], key) -> tokens [B, length]`; options as `decode.generate`."""

    @jax.jit
    def sample(params: Params, prime: Array, key: Array) -> Array:
        model = nnx.merge(graphdef, params)

        def step(state: State, token: Array) -> tuple[State, Array]:
            return model.step(token, state)

        state = model.initial_state(prime.shape[0])
        return generate(step, state, prime, key, length=length, **choice)

    return sample


def make_search(
    graphdef: Any, *, length: int, width: int, **options: Any
) -> Callable[[Params, Array], Beams]:
    """Builds `search(params, prime [B, T]) -> Beams`, the most probable strings of `length` tokens.

    No token ends a string; options as of `decode.beam_search`.
    """

    @jax.jit
    def search(params: Params, prime: Array) -> Beams:
        model = nnx.merge(graphdef, params)

        def step(context: tuple, state: State, token: Array) -> tuple[State, Array]:
            return model.step(token, state)

        if not prime.shape[1]:
            raise InputError("prime must be tokens [B, T] with T >= 1, got T = 0.")
        state, _ = model(prime[:, :-1]) if prime.shape[1] > 1 else (None, None)
        state = model.initial_state(prime.shape[0]) if state is None else state
        none = model.embedding.num_embeddings  # no token
        how = {"width": width, "length": length, "end": none, **options}
        return beam_search(step, (), state, prime[:, -1], **how)

    return search
