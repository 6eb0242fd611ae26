"""A network that writes a sequence about something it is shown: a source, an image."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError, check_fraction, check_positive
from seqjax.fast_scan.scan import scan
from seqjax.layers.attention import Attention, Memory, attend
from seqjax.layers.rnn import RNN
from seqjax.layers.stack import Stack
from seqjax.recurrence.unroll import draw_masks, with_masks
from seqjax.types import Array, Cell, Params, State, float32_or_wider

BEGINS = ("given", "dense", "first")
EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class Context(NamedTuple):
    """What every step of the decoder reads, and none changes; leaves `[B, ...]`."""

    memory: Memory | None  # for attention
    summary: Array | None  # [B, M], to be read as it is


class DecoderState(NamedTuple):
    """What one step of the decoder hands to the next; leaves `[B, ...]`."""

    layers: tuple[State, ...]
    output: Array | None  # [B, H] of the lowest layer: the query of attention


class Decoder(nnx.Module):
    """p(target | what is shown), a token at a time.

    What is shown comes as a summary s and, for attention, as a memory. With y_t the token that is read, c_t
    what it reads of what is shown, h_t the lowest layer's output and top_t the highest's,

        c_t = attention(h_{t-1}; memory), or s, or nothing
        h_t = cell([E y_t, c_t]), and the other layers above it
        r_t = tanh(W [top_t, c_t, E y_t] + b)
        p(y_{t+1} | y_1 .. y_t, what is shown) = softmax(V r_t + d)

    Where it begins, by `begin`: "given", with states that are given; "dense", with tanh(W s + b) for each part
    of its states (Bahdanau et al., 2015); "first", with what it is after reading W s + b as a first input
    (Vinyals et al., 2015).

    Args:
      vocab_size: V.
      cells: the layers, bottom first.
      embedding_size: E.
      summary_size: M, also of each place of a memory.
      attention: "none", "additive", "dot" or "general", of `seqjax.layers.attention`.
      every_step: whether c_t is s; only without attention.
      begin: one of BEGINS.
      connections: between layers, as of `Stack`.
      dropout: share of units dropped from embeddings, connections that go up and r_t, in [0, 1); what is
        random in a cell itself is drawn with it.
      tie_weights: whether V is E (Press and Wolf, 2017).
      rngs: parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size, rate or name is out of range, or options do not go together.
    """

    def __init__(
        self,
        vocab_size: int,
        cells: Sequence[Cell],
        *,
        embedding_size: int,
        summary_size: int,
        attention: str = "none",
        every_step: bool = False,
        begin: str = "dense",
        connections: str = "plain",
        dropout: float = 0.0,
        tie_weights: bool = False,
        rngs: nnx.Rngs,
    ):
        check_positive("vocab_size", vocab_size)
        check_positive("embedding_size", embedding_size)
        check_positive("summary_size", summary_size)
        check_fraction("dropout", dropout)
        if begin not in BEGINS:
            raise InputError(f"begin must be one of {', '.join(BEGINS)}, got {begin!r}.")
        if every_step and attention != "none":
            raise InputError(
                f"every_step gives every step one summary, attention={attention!r} one of its own:"
                " take one of them."
            )
        if not cells:
            raise InputError(f"{type(self).__name__} needs at least one cell, got none.")
        hidden_size = cells[0].output_size
        self.attention = (
            Attention(attention, hidden_size, summary_size, rngs=rngs)
            if attention != "none"
            else None
        )
        read_size = summary_size if every_step or attention != "none" else 0
        self.every_step, self.dropout = every_step, nnx.Dropout(dropout)
        self.embedding = nnx.Embed(
            vocab_size, embedding_size, embedding_init=EMBEDDING_INIT, rngs=rngs
        )
        self.lowest = RNN(cells[0], embedding_size + read_size, rngs=rngs)
        how: dict[str, Any] = {"connections": connections, "dropout": dropout, "rngs": rngs}
        self.upper = Stack(cells[1:], hidden_size, above=True, **how) if cells[1:] else None
        top_size = hidden_size if self.upper is None else self.upper.output_size
        self.readout = nnx.Linear(top_size + read_size + embedding_size, embedding_size, rngs=rngs)
        self.tie_weights = tie_weights
        if tie_weights:
            self.head_bias = nnx.Param(jnp.zeros(vocab_size))
        else:
            self.head = nnx.Linear(embedding_size, vocab_size, rngs=rngs)
        self.begin = begin
        if begin == "dense":
            first = jax.eval_shape(lambda: self.initial_state(1))
            self.bridges = nnx.List(
                nnx.Linear(summary_size, _numbers(leaf), rngs=rngs)
                for leaf in jax.tree.leaves(first)
                if jnp.issubdtype(leaf.dtype, jnp.inexact)
            )
        elif begin == "first":
            self.first_input = nnx.Linear(summary_size, embedding_size, rngs=rngs)

    def context(
        self, summary: Array, values: Array | None = None, lengths: Array | None = None
    ) -> Context:
        """What the steps read, of `summary [B, M]` and, for attention, `values [B, S, M]`."""
        memory = None
        if self.attention is not None:
            if values is None:
                raise InputError("attention reads places of a memory, and none are given.")
            memory = self.attention.memory(values, lengths)
        return Context(memory, summary if self.every_step else None)

    def initial_state(self, batch_size: int) -> DecoderState:
        """Zeros, or what else the cells begin with."""
        layers = [self.lowest.initial_state(batch_size)]
        if self.upper is not None:
            layers += self.upper.initial_state(batch_size)
        dtype = float32_or_wider(*jax.tree.leaves(self.lowest.arrays()))
        output = jnp.zeros((batch_size, self.lowest.output_size), dtype)
        return DecoderState(tuple(layers), None if self.attention is None else output)

    def first_state(self, context: Context, summary: Array) -> DecoderState:
        """The state before the first token, made of a summary.

        Raises:
          InputError: if states are to be given.
        """
        state = self.initial_state(summary.shape[0])
        if self.begin == "first":
            return self._advance(context, state, self.first_input(summary))[0]
        if self.begin == "given":
            raise InputError("begin='given': give the state, none is made.")
        leaves, tree = jax.tree.flatten(state)
        bridges = iter(self.bridges)
        bridged = [
            _bridged(jnp.tanh(next(bridges)(summary)), leaf)
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
            else leaf
            for leaf in leaves
        ]
        return jax.tree.unflatten(tree, bridged)

    def __call__(
        self,
        context: Context,
        state: DecoderState,
        tokens: Array,
        *,
        dropout_key: Array | None = None,
    ) -> tuple[DecoderState, Array]:
        """Teacher forcing: `tokens [B, T] -> (state, logits [B, T, V])`.

        Logits at t are of the token after `tokens[:, t]`. Dropout only if a key is given.
        """
        keys: Any = [None] * 3 if dropout_key is None else jax.random.split(dropout_key, 3)
        xs = self._drop(self.embedding(tokens), keys[0])
        low = state.layers[0], state.output
        cell = self.lowest.cell
        noise_key = None if dropout_key is None else jax.random.fold_in(keys[0], 1)
        shape = (xs.shape[1], xs.shape[0], self.lowest.input_size)
        masks, masks_of_steps = draw_masks(cell, noise_key, shape)

        def step(params: tuple, low: tuple, inputs: tuple) -> tuple[tuple, tuple]:
            (params, masks), (x, masks_t) = params, inputs
            noisy = cell if noise_key is None else with_masks(cell, masks, masks_t)
            low, (y, read, _) = _lowest_step(noisy, params, low, x)
            return low, (y, read)

        inputs = jnp.swapaxes(xs, 0, 1), masks_of_steps
        low, (ys, read) = scan(step, (self._step_params(context), masks), low, inputs)
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
        """The same, and the weights of attention `[..., S]` with which the memory was read."""
        x = self.embedding(token)
        state, y, read, weights = self._advance(context, state, x)
        return state, self._logits(y, read, x, None), weights

    def _advance(
        self, context: Context, state: DecoderState, x: Array
    ) -> tuple[DecoderState, Array, Array | None, Array | None]:
        """All layers on one input: the state, the highest output, what was read and with what weights."""
        low = state.layers[0], state.output
        low, (y, read, weights) = _lowest_step(self.lowest.cell, self._step_params(context), low, x)
        layers: tuple[State, ...] = (low[0],)
        if self.upper is not None:
            upper, y = self.upper.step(y, state.layers[1:])
            layers += upper
        return DecoderState(layers, low[1]), y, read, weights

    def _step_params(self, context: Context) -> Params:
        attention = {} if self.attention is None else self.attention.arrays()
        return self.lowest.arrays(), attention, context

    def _logits(self, y: Array, read: Array | None, x: Array, key: Array | None) -> Array:
        parts = [y, x] if read is None else [y, read, x]
        r = self._drop(jnp.tanh(self.readout(jnp.concatenate(parts, -1))), key)
        return self.embedding.attend(r) + self.head_bias if self.tie_weights else self.head(r)

    def _drop(self, x: Array, key: Array | None) -> Array:
        return x if key is None else self.dropout(x, rngs=key, deterministic=False)


def _lowest_step(cell: Cell, params: Params, low: tuple, x: Array) -> tuple[tuple, tuple]:
    """The lowest layer, which reads what is shown: its output, what it read, and the weights."""
    cell_params, attention_params, context = params
    state, output = low
    read, weights = context.summary, None
    if context.memory is not None:
        read, weights = attend(attention_params, output, context.memory)
    inputs = x if read is None else jnp.concatenate([x, read], -1)
    state, y = cell.step(cell_params, state, inputs)
    return (state, None if output is None else y), (y, read, weights)


def _numbers(leaf: Any) -> int:
    """How many real numbers a row of a state's leaf `[B, ...]` holds."""
    return math.prod(leaf.shape[1:]) * (1 + jnp.issubdtype(leaf.dtype, jnp.complexfloating))


def _bridged(numbers: Array, leaf: Array) -> Array:
    """`numbers [B, N]` in the shape and of the kind of a leaf: of complex ones first the real parts."""
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        real, imaginary = jnp.split(numbers, 2, axis=-1)
        numbers = real + 1j * imaginary
    return numbers.reshape(leaf.shape)
