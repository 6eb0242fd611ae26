"""The recurrent language model: embed, run stacked cells, predict the next token."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive
from seqjax.layers.stack import Stack
from seqjax.types import Array, Cell, Initializer, State

_EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class LanguageModel(Stack):
    """p(next token | all tokens before), as in Mikolov et al. (2010), Zaremba et al. (2014).

    A stack of recurrent layers between an embedding and a head, with the stack's dropout.

    Args:
      vocab_size: V.
      cells: the layers, bottom first.
      embedding_size: size of a token's vector.
      dropout: share of units dropped on every non-recurrent connection, in [0, 1).
      same_mask: as of `Stack`.
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
        same_mask: bool = False,
        tie_weights: bool = False,
        initializer: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        check_positive("vocab_size", vocab_size)
        check_positive("embedding_size", embedding_size)
        self.embedding = nnx.Embed(
            vocab_size,
            embedding_size,
            embedding_init=initializer or _EMBEDDING_INIT,
            rngs=rngs,
        )
        super().__init__(cells, embedding_size, dropout=dropout, same_mask=same_mask, rngs=rngs)
        if tie_weights and embedding_size != self.output_size:
            raise InputError(
                "tie_weights needs embedding_size equal to the last cell's output size, got"
                f" {embedding_size} and {self.output_size}."
            )
        self.tie_weights = tie_weights
        if tie_weights:
            self.head_bias = nnx.Param(jnp.zeros(vocab_size))
        else:
            self.head = nnx.Linear(
                self.output_size,
                vocab_size,
                kernel_init=initializer or initializers.lecun_normal(),
                bias_init=initializer or initializers.zeros,
                rngs=rngs,
            )

    def __call__(
        self,
        tokens: Array,
        state: State | None = None,
        *,
        lengths: Array | None = None,
        dropout_key: Array | None = None,
    ) -> tuple[State, Array]:
        """`tokens [B, T] -> (final_state, logits [B, T, V])`; the rest as of `Stack`.

        Logits at t predict token t + 1.
        """
        state, ys = super().__call__(
            self.embedding(tokens), state, lengths=lengths, dropout_key=dropout_key
        )
        return state, self._logits(ys)

    def step(self, token: Array, state: State) -> tuple[State, Array]:
        """One token, without dropout: `token [...] -> (state, logits [..., V])`."""
        state, y = super().step(self.embedding(token), state)
        return state, self._logits(y)

    def _logits(self, ys: Array) -> Array:
        return self.embedding.attend(ys) + self.head_bias if self.tie_weights else self.head(ys)
