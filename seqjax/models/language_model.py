"""The recurrent language model: embed, run stacked cells, predict the next token."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive
from seqjax.layers.rnn import RNN
from seqjax.types import Array, Cell, Initializer, State

_EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class LanguageModel(nnx.Module):
    """p(next token | all tokens before), as in Mikolov et al. (2010), Zaremba et al. (2014).

    Dropout acts on the connections that go up (embedding to first layer, layer to layer, last
    layer to head), never on those that go through time.

    Args:
      vocab_size: V.
      cells: the layers, bottom first.
      embedding_size: size of a token's vector.
      dropout: share of units dropped on every non-recurrent connection, in [0, 1).
      tie_weights: use the embedding as the head's kernel (Press and Wolf, 2017); needs
        `embedding_size` equal to the last cell's output size.
      initializer: draws embedding, head kernel and head bias; the usual ones if None.
      rngs: NNX random streams; parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size or rate is out of range, or weights cannot be tied.
    """

    def __init__(
        self,
        vocab_size: int,
        cells: Sequence[Cell],
        *,
        embedding_size: int,
        dropout: float = 0.0,
        tie_weights: bool = False,
        initializer: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        check_positive("vocab_size", vocab_size)
        check_positive("embedding_size", embedding_size)
        if not cells:
            raise InputError("LanguageModel needs at least one cell, got an empty sequence.")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {dropout}.")
        output_size = cells[-1].output_size
        if tie_weights and embedding_size != output_size:
            raise InputError(
                "tie_weights needs embedding_size equal to the last cell's output size, got"
                f" {embedding_size} and {output_size}."
            )
        self.embedding = nnx.Embed(
            vocab_size,
            embedding_size,
            embedding_init=initializer or _EMBEDDING_INIT,
            rngs=rngs,
        )
        sizes = [embedding_size, *(cell.output_size for cell in cells[:-1])]
        self.layers = nnx.List(
            [RNN(cell, size, rngs=rngs) for cell, size in zip(cells, sizes, strict=True)]
        )
        self.tie_weights = tie_weights
        if tie_weights:
            self.head_bias = nnx.Param(jnp.zeros(vocab_size))
        else:
            self.head = nnx.Linear(
                output_size,
                vocab_size,
                kernel_init=initializer or initializers.lecun_normal(),
                bias_init=initializer or initializers.zeros,
                rngs=rngs,
            )
        self.dropout = nnx.Dropout(dropout)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first token: a tuple, one entry per layer."""
        return tuple(layer.initial_state(batch_size) for layer in self.layers)

    def __call__(
        self, tokens: Array, state: State | None = None, *, dropout_key: Array | None = None
    ) -> tuple[State, Array]:
        """`tokens [B, T] -> (final_state, logits [B, T, V])`.

        Logits at t predict token t + 1. Dropout is applied only if `dropout_key` is given.
        """
        state = self.initial_state(tokens.shape[0]) if state is None else state
        num_masks = len(self.layers) + 1
        keys = [None] * num_masks
        if dropout_key is not None:
            keys = list(jax.random.split(dropout_key, num_masks))
        ys, new_state = self.embedding(tokens), []
        for layer, layer_state, key in zip(self.layers, state, keys[:-1], strict=True):
            layer_state, ys = layer(self._drop(ys, key), layer_state)
            new_state.append(layer_state)
        return tuple(new_state), self._logits(self._drop(ys, keys[-1]))

    def step(self, token: Array, state: State) -> tuple[State, Array]:
        """One token, without dropout: `token [...] -> (state, logits [..., V])`."""
        y, new_state = self.embedding(token), []
        for layer, layer_state in zip(self.layers, state, strict=True):
            layer_state, y = layer.step(y, layer_state)
            new_state.append(layer_state)
        return tuple(new_state), self._logits(y)

    def _logits(self, ys: Array) -> Array:
        return self.embedding.attend(ys) + self.head_bias if self.tie_weights else self.head(ys)

    def _drop(self, x: Array, key: Array | None) -> Array:
        return x if key is None else self.dropout(x, rngs=key, deterministic=False)
