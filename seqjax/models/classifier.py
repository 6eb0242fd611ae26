"""A sequence in, one label out."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.errors import InputError, check_positive
from seqjax.layers import pooling as poolings
from seqjax.layers.stack import Stack
from seqjax.types import Array, Cell

_EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class SequenceClassifier(nnx.Module):
    """Embed, run a stack, pool over time, predict: the many-to-one network of the lectures.

    Args:
      vocab_size: V.
      num_classes: C.
      cells: the layers, bottom first.
      embedding_size: E, size of a token's vector.
      pooling: "last", "mean" or "max", of `seqjax.layers.pooling`; the last of a bidirectional
        stack is the last step of its forward half and the first of its backward half.
      bidirectional: run each layer in both directions.
      connections: between layers, as of `Stack`.
      dropout: share of units dropped on every connection that goes up, the pooled ones included.
      vectors: the first values of the embedding `[V, E]`; drawn if None.
      rngs: NNX random streams; parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size, rate or name is out of range.
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        cells: Sequence[Cell],
        *,
        embedding_size: int,
        pooling: str = "max",
        bidirectional: bool = False,
        connections: str = "plain",
        dropout: float = 0.0,
        vectors: np.ndarray | None = None,
        rngs: nnx.Rngs,
    ):
        check_positive("vocab_size", vocab_size)
        check_positive("num_classes", num_classes)
        check_positive("embedding_size", embedding_size)
        if pooling not in poolings.POOLINGS:
            raise InputError(
                f"pooling must be one of {', '.join(poolings.POOLINGS)}, got {pooling!r}."
            )
        self.embedding = nnx.Embed(
            vocab_size, embedding_size, embedding_init=_EMBEDDING_INIT, rngs=rngs
        )
        if vectors is not None:
            if vectors.shape != (vocab_size, embedding_size):
                raise InputError(
                    f"vectors must have shape {(vocab_size, embedding_size)}, got {vectors.shape}."
                )
            self.embedding.embedding = nnx.Param(jnp.asarray(vectors, jnp.float32))
        self.stack = Stack(
            cells,
            embedding_size,
            bidirectional=bidirectional,
            connections=connections,
            dropout=dropout,
            rngs=rngs,
        )
        self.pooling = pooling
        self.head = nnx.Linear(self.stack.output_size, num_classes, rngs=rngs)

    def __call__(
        self, tokens: Array, lengths: Array | None = None, *, dropout_key: Array | None = None
    ) -> Array:
        """`tokens [B, T], lengths [B] -> logits [B, C]`; dropout only if a key is given."""
        _, ys = self.stack(self.embedding(tokens), lengths=lengths, dropout_key=dropout_key)
        return self.head(self.pooled(ys, lengths))

    def pooled(self, ys: Array, lengths: Array | None = None) -> Array:
        """The features of a sequence: `[B, T, H] -> [B, H]`."""
        if self.pooling == "last":
            return poolings.last(ys, lengths, backward=self.stack.backward_features)
        return poolings.POOLINGS[self.pooling](ys, lengths)
