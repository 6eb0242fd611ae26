"""A sequence in, a sequence out: one recurrent network reads, another writes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError, check_positive
from seqjax.layers import pooling
from seqjax.layers.stack import Stack
from seqjax.models.decoder import EMBEDDING_INIT, Context, Decoder, DecoderState
from seqjax.types import Array, Cell

BRIDGES = ("copy", "dense", "context")


class EncoderDecoder(nnx.Module):
    """p(target | source), a token at a time.

    The encoder, a stack, reads the source. Its outputs h_1 .. h_S are the memory; its summary s is the
    last output of each direction. The decoder, a `Decoder`, begins, by `bridge`, with

        copy     the encoder's final states                      (Sutskever et al., 2014)
        dense    tanh(W s + b), for each part of its states      (Bahdanau et al., 2015)
        context  the same; s is read at every step, too          (Cho et al., 2014)

    Args:
      source_size: number of tokens of the source's vocabulary.
      target_size: V, of the target's.
      encoder_cells: the layers that read, bottom first.
      decoder_cells: the layers that write.
      embedding_size: E, of both vocabularies.
      bidirectional: whether the encoder reads in both directions.
      reverse_source: whether a source is read from its end (Sutskever et al., 2014). Places of the
        memory are the source's own all the same.
      bridge: one of BRIDGES.
      attention: "none", "additive", "dot" or "general", of `seqjax.layers.attention`.
      connections: between layers, as of `Stack`.
      dropout: share of units dropped, in [0, 1); never on what goes through time.
      tie_weights: whether V is the target's embedding (Press and Wolf, 2017).
      rngs: parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size, rate or name is out of range, or options do not go together.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        encoder_cells: Sequence[Cell],
        decoder_cells: Sequence[Cell],
        *,
        embedding_size: int,
        bidirectional: bool = False,
        reverse_source: bool = False,
        bridge: str = "dense",
        attention: str = "none",
        connections: str = "plain",
        dropout: float = 0.0,
        tie_weights: bool = False,
        rngs: nnx.Rngs,
    ):
        check_positive("source_size", source_size)
        check_positive("embedding_size", embedding_size)
        if bridge not in BRIDGES:
            raise InputError(f"bridge must be one of {', '.join(BRIDGES)}, got {bridge!r}.")
        if bridge == "context" and attention != "none":
            raise InputError(
                f"bridge='context' gives every step one summary, attention={attention!r} one of its"
                " own: take bridge='dense'."
            )
        self.source_embedding = nnx.Embed(
            source_size, embedding_size, embedding_init=EMBEDDING_INIT, rngs=rngs
        )
        how: dict[str, Any] = {"connections": connections, "dropout": dropout, "rngs": rngs}
        self.encoder = Stack(encoder_cells, embedding_size, bidirectional=bidirectional, **how)
        self.reverse_source, self.bidirectional = reverse_source, bidirectional
        self.decoder = Decoder(
            target_size,
            decoder_cells,
            embedding_size=embedding_size,
            summary_size=self.encoder.output_size,
            attention=attention,
            every_step=bridge == "context",
            begin="given" if bridge == "copy" else "dense",
            tie_weights=tie_weights,
            **how,
        )
        self.bridge = bridge
        if bridge == "copy":
            self._check_copy()

    def __call__(
        self,
        source: Array,
        lengths: Array,
        tokens: Array,
        *,
        dropout_key: Array | None = None,
    ) -> Array:
        """Teacher forcing: `source [B, S], lengths [B], tokens [B, T] -> logits [B, T, V]`.

        Logits at t are of the token after `tokens[:, t]`. Dropout only if a key is given.
        """
        keys = [None, None] if dropout_key is None else jax.random.split(dropout_key)
        context, state = self.encode(source, lengths, dropout_key=keys[0])
        return self.decoder(context, state, tokens, dropout_key=keys[1])[1]

    def encode(
        self, source: Array, lengths: Array, *, dropout_key: Array | None = None
    ) -> tuple[Context, DecoderState]:
        """`source [B, S], lengths [B] -> (context, state)`, what the decoder begins with."""
        if self.reverse_source:
            source = _reversed(source, lengths)
        final, ys = self.encoder(
            self.source_embedding(source), lengths=lengths, dropout_key=dropout_key
        )
        summary = pooling.last(ys, lengths, backward=self.encoder.backward_features)
        if self.reverse_source:
            ys = _reversed(ys, lengths)
        context = self.decoder.context(summary, ys, lengths)
        if self.bridge == "copy":
            output = None if self.decoder.attention is None else summary
            return context, DecoderState(final, output)
        return context, self.decoder.first_state(context, summary)

    def step(
        self, context: Context, state: DecoderState, token: Array
    ) -> tuple[DecoderState, Array]:
        """One token, without dropout: `token [...] -> (state, logits [..., V])`; as `beam_search` takes it."""
        return self.decoder.step(context, state, token)

    def _check_copy(self) -> None:
        """The decoder's states must be the encoder's, and so must the query that attention begins with."""
        final = jax.eval_shape(lambda: self.encoder.initial_state(1))
        first = jax.eval_shape(lambda: self.decoder.initial_state(1))
        ours, theirs = (
            (jax.tree_util.tree_structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)])
            for tree in (final, first.layers)
        )
        if self.bidirectional or ours != theirs:
            raise InputError(
                "bridge='copy' needs an encoder of one direction and a decoder with the same cells:"
                " take 'dense'."
            )
        size = self.encoder.output_size
        if first.output is not None and size != first.output.shape[1]:
            raise InputError(
                f"bridge='copy' with attention begins with the encoder's output, of {size}, in place of that"
                f" of the decoder's lowest layer, of {first.output.shape[1]}: take 'dense'."
            )


def _reversed(rows: Array, lengths: Array) -> Array:
    """Each row `[B, S, ...]` from its own last step to its first; the padding stays where it is."""
    place = jnp.arange(rows.shape[1])
    place = jnp.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return jax.vmap(lambda row, p: row[p])(rows, place)
