"""An image in, a sentence out."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError, check_fraction, check_positive
from seqjax.models.decoder import Context, Decoder, DecoderState
from seqjax.models.image_encoder import ImageEncoder
from seqjax.types import Array, Cell

ENTRIES = ("step", "first", "state", "attention")


class Captioner(nnx.Module):
    """p(caption | image), a word at a time; four ways in which the image's features v enter.

        step       at every step, h = tanh(W_xh x + W_hh h + W_ih v), or what the cell makes of [x, v]
                   (the lectures; Mao et al., 2015)
        first      as the first input                                   (Vinyals et al., 2015)
        state      as the first state, tanh(W v + b)                    (Karpathy and Fei-Fei, 2015, in kind)
        attention  a grid of features, read anew at every step          (Xu et al., 2015); to the features of each
                   place a learned vector is added, that tells where it is

    Features are given, or made of pixels by a small convolutional network that is trained with the rest.

    Args:
      vocab_size: V.
      cells: the layers, bottom first.
      features: (F,), the size of v; or (S, F), a grid of S places. Attention reads the places, the other
        entries all of them side by side.
      embedding_size: size of a word's vector, and of the projected features.
      entry: one of ENTRIES.
      encoder: makes features of pixels; None where features are given.
      connections: between layers, as of `Stack`.
      dropout: share of units dropped, of the projected features too, in [0, 1).
      rngs: parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size or name is out of range.
    """

    def __init__(
        self,
        vocab_size: int,
        cells: Sequence[Cell],
        *,
        features: tuple[int, ...],
        embedding_size: int,
        entry: str = "step",
        encoder: ImageEncoder | None = None,
        connections: str = "plain",
        dropout: float = 0.0,
        tie_weights: bool = False,
        rngs: nnx.Rngs,
    ):
        check_positive("embedding_size", embedding_size)
        check_fraction("dropout", dropout)
        if len(features) not in (1, 2) or min(features) < 1:
            raise InputError(f"features must be (F,) or (S, F), got {features}.")
        if entry not in ENTRIES:
            raise InputError(f"entry must be one of {', '.join(ENTRIES)}, got {entry!r}.")
        if entry == "attention" and len(features) != 2:
            raise InputError(f"attention needs a grid of features (S, F), got {features}.")
        self.entry, self.features = entry, tuple(features)
        self.encoder = encoder
        size = features[-1] if entry == "attention" else math.prod(features)
        self.project = nnx.Linear(size, embedding_size, rngs=rngs)
        if entry == "attention":
            drawn = jax.random.normal(rngs.params(), (features[0], embedding_size))
            self.places = nnx.Param(drawn)
        self.drop = nnx.Dropout(dropout)
        self.decoder = Decoder(
            vocab_size,
            cells,
            embedding_size=embedding_size,
            summary_size=embedding_size,
            attention="additive" if entry == "attention" else "none",
            every_step=entry == "step",
            begin={"step": "given", "first": "first"}.get(entry, "dense"),
            connections=connections,
            dropout=dropout,
            tie_weights=tie_weights,
            rngs=rngs,
        )

    def __call__(self, images: Array, tokens: Array, *, dropout_key: Array | None = None) -> Array:
        """Teacher forcing: `images, tokens [B, T] -> logits [B, T, V]`; dropout only if a key is given."""
        keys: Any = [None, None] if dropout_key is None else jax.random.split(dropout_key)
        context, state = self.look(images, dropout_key=keys[0])
        return self.decoder(context, state, tokens, dropout_key=keys[1])[1]

    def look(
        self, images: Array, *, dropout_key: Array | None = None
    ) -> tuple[Context, DecoderState]:
        """What the decoder begins with.

        Args:
          images: features `[B, *features]`; pixels `[B, Y, X, C]` where there is an encoder.
          dropout_key: of the masks of projected features.

        Raises:
          InputError: if they are of other shapes.
        """
        found = images if self.encoder is None else self.encoder(images)
        if found.shape[1:] != self.features:
            raise InputError(
                f"features must be of shape {('B', *self.features)}, got {found.shape}."
            )
        if self.entry != "attention":
            found = found.reshape(len(found), -1)
        values = self.project(found)
        if self.entry == "attention":
            values = values + self.places.get_value()
        values = jnp.tanh(values)
        if dropout_key is not None:
            values = self.drop(values, rngs=dropout_key, deterministic=False)
        summary = values.mean(1) if values.ndim == 3 else values
        context = self.decoder.context(summary, values if self.entry == "attention" else None)
        state = self.decoder.initial_state(len(summary))
        if self.entry != "step":
            state = self.decoder.first_state(context, summary)
        return context, state

    def step(
        self, context: Context, state: DecoderState, token: Array
    ) -> tuple[DecoderState, Array]:
        """One word, without dropout: `token [...] -> (state, logits [..., V])`; as `beam_search` takes it."""
        return self.decoder.step(context, state, token)
