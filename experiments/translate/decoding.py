"""Translating by a network: the best string that a beam search finds."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from experiments.common.labelling import make_predict
from seqjax.data.tokens import END, PAD, START, UNKNOWN, decode
from seqjax.decode import Beams, beam_search
from seqjax.models import EncoderDecoder
from seqjax.training.labelling import Labelled
from seqjax.training.modules import merge_model, split_model
from seqjax.types import Array, Params

BATCH_SIZE = 50


def search(model: EncoderDecoder, source: Array, lengths: Array, **how: Any) -> Beams:
    """The best hypotheses for each source; options as of `beam_search`."""
    context, state = model.encode(source, lengths)
    first = jnp.full(source.shape[:1], START)
    return beam_search(
        model.step, context, state, first, end=END, forbidden=(PAD, UNKNOWN, START), **how
    )


def make_translate(
    model: EncoderDecoder, tops: Sequence[int], **how: Any
) -> Callable[[Params, Labelled], np.ndarray]:
    """Builds `translate(params, examples) -> tokens [N, T]`, the best of each source."""

    def best(model: EncoderDecoder, source: Array, lengths: Array) -> Array:
        return search(model, source, lengths, **how).tokens[:, 0]

    predict = make_predict(model, best, tops, by_step=False, batch_size=BATCH_SIZE)

    def translate(params: Params, examples: Labelled) -> np.ndarray:
        source = np.asarray(examples.inputs["source"])
        lengths = (source != PAD).sum(1).astype(np.int32)
        return predict(params, Labelled(source, lengths, examples.labels))

    return translate


def texts_of(tokenizer: Tokenizer, tokens: np.ndarray) -> list[str]:
    """Rows of tokens as text."""
    return [decode(tokenizer, row) for row in tokens]


def make_weights(model: EncoderDecoder) -> Callable[[Params, Any, Any], Array]:
    """Builds `weights(params, source [S], tokens [T]) -> [T, S]`: what each written token read."""
    split = split_model(model)

    @jax.jit
    def weights(params: Params, source: Array, tokens: Array) -> Array:
        model = merge_model(split, params)
        context, state = model.encode(source[None], jnp.array([len(source)]))
        step = partial(model.decoder.step_with_weights, context)

        def advance(state: Any, token: Array) -> tuple[Any, Array]:
            state, _, weights = step(state, token[None])
            return state, weights[0]

        return jax.lax.scan(advance, state, tokens)[1]

    return weights
