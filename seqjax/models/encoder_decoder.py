"""A sequence in, a sequence out: one recurrent network reads, another writes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError, check_positive
from seqjax.fast_scan.scan import scan
from seqjax.layers import pooling
from seqjax.layers.attention import Attention, Memory, attend
from seqjax.layers.rnn import RNN
from seqjax.layers.stack import Stack
from seqjax.types import Array, Cell, Params, State

BRIDGES = ("copy", "dense", "context")
_EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class Context(NamedTuple):
    """What every step of the decoder reads of its source, and none changes; leaves `[B, ...]`."""

    memory: Memory | None  # for attention
    summary: Array | None  # [B, M], for the bridge "context"


class DecoderState(NamedTuple):
    """What one step of the decoder hands to the next; leaves `[B, ...]`."""

    layers: tuple[State, ...]
    output: Array | None  # [B, H] of the lowest layer: the query of attention


class EncoderDecoder(nnx.Module):
    """p(target | source), a token at a time.

    The encoder, a stack, reads the source. Its outputs h_1 .. h_S are the memory; its summary s is the
    last output of each direction. The decoder begins, by `bridge`, with

        copy     the encoder's final states                      (Sutskever et al., 2014)
        dense    tanh(W s + b), for each part of its states      (Bahdanau et al., 2015)
        context  the same; s is read at every step, too          (Cho et al., 2014)

    With y_t the decoder's input token, c_t what it reads of the source, h_t the lowest layer's output,

        c_t = attention(h_{t-1}; h_1 .. h_S), or s, or nothing
        h_t = cell([E y_t, c_t]), and the other layers above it
        r_t = tanh(W [top_t, c_t, E y_t] + b)
        p(y_{t+1} | y_1 .. y_t, source) = softmax(V r_t + d)

    Dropout acts on embeddings, on connections that go up and on r_t, never through time.

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
      dropout: share of units dropped, in [0, 1).
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
        check_positive("target_size", target_size)
        check_positive("embedding_size", embedding_size)
        if bridge not in BRIDGES:
            raise InputError(f"bridge must be one of {', '.join(BRIDGES)}, got {bridge!r}.")
        if bridge == "context" and attention != "none":
            raise InputError(
                f"bridge='context' gives every step one summary, attention={attention!r} one of its"
                " own: take bridge='dense'."
            )
        if not decoder_cells:
            raise InputError("EncoderDecoder needs at least one cell to write, got none.")
        how: dict[str, Any] = {"connections": connections, "dropout": dropout, "rngs": rngs}
        self.source_embedding = _embedding(source_size, embedding_size, rngs)
        self.encoder = Stack(encoder_cells, embedding_size, bidirectional=bidirectional, **how)
        self.reverse_source, self.bidirectional = reverse_source, bidirectional
        self.bridge, self.dropout = bridge, nnx.Dropout(dropout)
        memory_size, hidden_size = self.encoder.output_size, decoder_cells[0].output_size
        self.attention = (
            Attention(attention, hidden_size, memory_size, rngs=rngs)
            if attention != "none"
            else None
        )
        read_size = 0 if attention == "none" and bridge != "context" else memory_size
        self.target_embedding = _embedding(target_size, embedding_size, rngs)
        self.lowest = RNN(decoder_cells[0], embedding_size + read_size, rngs=rngs)
        self.upper = Stack(decoder_cells[1:], hidden_size, **how) if decoder_cells[1:] else None
        top_size = hidden_size if self.upper is None else self.upper.output_size
        self.readout = nnx.Linear(top_size + read_size + embedding_size, embedding_size, rngs=rngs)
        self.tie_weights = tie_weights
        if tie_weights:
            self.head_bias = nnx.Param(jnp.zeros(target_size))
        else:
            self.head = nnx.Linear(embedding_size, target_size, rngs=rngs)
        first = jax.eval_shape(lambda: self._first_state(1))
        if bridge == "copy":
            self._check_copy(first)
        else:
            self.bridges = nnx.List(
                nnx.Linear(memory_size, leaf.shape[-1], rngs=rngs)
                for leaf in jax.tree.leaves(first)
                if jnp.issubdtype(leaf.dtype, jnp.floating)
            )

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
        return self.decode(context, state, tokens, dropout_key=keys[1])[1]

    def encode(
        self, source: Array, lengths: Array, *, dropout_key: Array | None = None
    ) -> tuple[Context, DecoderState]:
        """`source [B, S], lengths [B] -> (context, state)`, what the decoder begins with."""
        if self.reverse_source:
            source = _reversed(source, lengths)
        final, ys = self.encoder(
            self.source_embedding(source), lengths=lengths, dropout_key=dropout_key
        )
        half = self.encoder.output_size // 2 if self.bidirectional else 0
        summary = pooling.last(ys, lengths, backward_size=half)
        if self.reverse_source:
            ys = _reversed(ys, lengths)
        memory = None if self.attention is None else self.attention.memory(ys, lengths)
        context = Context(memory, summary if self.bridge == "context" else None)
        return context, self._bridged(final, summary)

    def decode(
        self,
        context: Context,
        state: DecoderState,
        tokens: Array,
        *,
        dropout_key: Array | None = None,
    ) -> tuple[DecoderState, Array]:
        """Teacher forcing from a state: `tokens [B, T] -> (state, logits [B, T, V])`."""
        keys = [None] * 4 if dropout_key is None else list(jax.random.split(dropout_key, 4))
        xs = self._drop(self.target_embedding(tokens), keys[0])
        low = state.layers[0], state.output

        def step(params: Params, low: tuple, x: Array) -> tuple[tuple, tuple]:
            low, (y, read, _) = self._lowest_step(params, low, x)
            return low, (y, read)

        low, (ys, read) = scan(step, self._step_params(context), low, jnp.swapaxes(xs, 0, 1))
        ys, read = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (ys, read))
        layers: tuple[State, ...] = (low[0],)
        if self.upper is not None:
            upper, ys = self.upper(ys, state.layers[1:], dropout_key=keys[1])
            layers += upper
        else:
            ys = self._drop(ys, keys[1])
        return DecoderState(layers, low[1]), self._logits(ys, read, xs, keys[2])

    def step(
        self, context: Context, state: DecoderState, token: Array
    ) -> tuple[DecoderState, Array]:
        """One token, without dropout: `token [...] -> (state, logits [..., V])`."""
        state, logits, _ = self.step_with_weights(context, state, token)
        return state, logits

    def step_with_weights(
        self, context: Context, state: DecoderState, token: Array
    ) -> tuple[DecoderState, Array, Array | None]:
        """The same, and the weights of attention `[..., S]` with which the source was read."""
        x = self.target_embedding(token)
        low = state.layers[0], state.output
        low, (y, read, weights) = self._lowest_step(self._step_params(context), low, x)
        layers: tuple[State, ...] = (low[0],)
        if self.upper is not None:
            upper, y = self.upper.step(y, state.layers[1:])
            layers += upper
        return DecoderState(layers, low[1]), self._logits(y, read, x, None), weights

    def _lowest_step(self, params: Params, low: tuple, x: Array) -> tuple[tuple, tuple]:
        """The lowest layer, which reads the source: it returns its output, what it read, and weights."""
        cell_params, attention_params, context = params
        state, output = low
        read, weights = context.summary, None
        if context.memory is not None:
            read, weights = attend(attention_params, output, context.memory)
        inputs = x if read is None else jnp.concatenate([x, read], -1)
        state, y = self.lowest.cell.step(cell_params, state, inputs)
        return (state, None if output is None else y), (y, read, weights)

    def _step_params(self, context: Context) -> Params:
        attention = {} if self.attention is None else self.attention.arrays()
        return self.lowest.arrays(), attention, context

    def _logits(self, y: Array, read: Array | None, x: Array, key: Array | None) -> Array:
        parts = [y, x] if read is None else [y, read, x]
        r = self._drop(jnp.tanh(self.readout(jnp.concatenate(parts, -1))), key)
        return (
            self.target_embedding.attend(r) + self.head_bias if self.tie_weights else self.head(r)
        )

    def _first_state(self, batch_size: int) -> DecoderState:
        """Before any source is read."""
        layers = [self.lowest.initial_state(batch_size)]
        if self.upper is not None:
            layers += self.upper.initial_state(batch_size)
        output = jnp.zeros((batch_size, self.lowest.output_size))
        return DecoderState(tuple(layers), None if self.attention is None else output)

    def _bridged(self, final: State, summary: Array) -> DecoderState:
        """The decoder's first state."""
        first = self._first_state(summary.shape[0])
        if self.bridge == "copy":
            return DecoderState(final, None if first.output is None else summary)
        leaves, tree = jax.tree.flatten(first)
        bridges = iter(self.bridges)
        bridged = [
            jnp.tanh(next(bridges)(summary)) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            for leaf in leaves
        ]
        return jax.tree.unflatten(tree, bridged)

    def _check_copy(self, first: DecoderState) -> None:
        """The decoder's states must be the encoder's."""
        final = jax.eval_shape(lambda: self.encoder.initial_state(1))
        sizes = jax.tree.map(lambda a: a.shape, (final, first.layers))
        fits = not self.bidirectional and sizes[0] == sizes[1]
        if not fits or (
            first.output is not None and self.encoder.output_size != first.output.shape[1]
        ):
            raise InputError(
                "bridge='copy' needs an encoder of one direction and a decoder with the same cells:"
                " take 'dense'."
            )

    def _drop(self, x: Array, key: Array | None) -> Array:
        return x if key is None else self.dropout(x, rngs=key, deterministic=False)


def _embedding(count: int, size: int, rngs: nnx.Rngs) -> nnx.Embed:
    return nnx.Embed(count, size, embedding_init=_EMBEDDING_INIT, rngs=rngs)


def _reversed(rows: Array, lengths: Array) -> Array:
    """Each row `[B, S, ...]` from its own last step to its first; the padding stays where it is."""
    place = jnp.arange(rows.shape[1])
    place = jnp.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return jax.vmap(lambda row, p: row[p])(rows, place)
