"""A network over trees: a vector for each word, a cell that composes them, a class at every node."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.errors import InputError, check_fraction, check_positive
from seqjax.recurrence.tree import Schedule, compose
from seqjax.types import Array, Params, TreeCell

_EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class TreeNetwork(nnx.Module):
    """p(class | subtree) at every node, as in Socher et al. (2013) and Tai et al. (2015).

    Args:
      vocab_size: V.
      cell: what composes children; of `seqjax.tree_cells`, or any `TreeCell`.
      num_classes: C.
      embedding_size: D, the size of a word's vector.
      vectors: `[V, D]`, the first values of the words' vectors; drawn if None.
      input_dropout: share of the entries of words' vectors dropped in training, in [0, 1).
      dropout: the same for what the classifier reads.
      rngs: NNX random streams; parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size or rate is out of range, or the vectors are of another shape.
    """

    def __init__(
        self,
        vocab_size: int,
        cell: TreeCell,
        num_classes: int,
        *,
        embedding_size: int,
        vectors: np.ndarray | None = None,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        check_positive("vocab_size", vocab_size)
        check_positive("num_classes", num_classes)
        check_positive("embedding_size", embedding_size)
        self.embedding = nnx.Embed(
            vocab_size, embedding_size, embedding_init=_EMBEDDING_INIT, rngs=rngs
        )
        if vectors is not None:
            if np.shape(vectors) != (vocab_size, embedding_size):
                raise InputError(
                    f"vectors must have the shape {(vocab_size, embedding_size)}, got"
                    f" {np.shape(vectors)}."
                )
            self.embedding.embedding.set_value(jnp.asarray(vectors, jnp.float32))
        self.cell = nnx.static(cell)
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), embedding_size)))
        self.head = nnx.Linear(cell.output_size, num_classes, rngs=rngs)
        self.input_dropout = nnx.Dropout(check_fraction("input_dropout", input_dropout))
        self.dropout = nnx.Dropout(check_fraction("dropout", dropout))

    def __call__(
        self, tokens: Array, schedule: Schedule, *, dropout_key: Array | None = None
    ) -> Array:
        """The logits of all nodes of a batch of trees.

        Args:
          tokens: ids `[L]` of leaves, or `[L + S·W]` of every slot of the schedule where inner nodes have
            words too; -1 for a node without a word, whose vector is zero.
          schedule: from `seqjax.recurrence.tree.schedule`.
          dropout_key: for training; no dropout without it.

        Returns:
          `[L + S·W, C]`, in the order of the schedule's slots.
        """
        keys = [None, None] if dropout_key is None else list(jax.random.split(dropout_key))
        has_word = (tokens >= 0)[:, None]
        xs = jnp.where(has_word, self.embedding(jnp.maximum(tokens, 0)), 0)
        states = compose(self.cell, self.arrays(), _drop(self.input_dropout, xs, keys[0]), schedule)
        return self.head(_drop(self.dropout, self.cell.read(states), keys[1]))

    def arrays(self) -> Params:
        """The cell's parameters as plain arrays."""
        return jax.tree.map(
            lambda p: p.get_value(), self.params, is_leaf=lambda p: isinstance(p, nnx.Param)
        )


def _drop(dropout: nnx.Dropout, x: Array, key: Array | None) -> Array:
    return x if key is None else dropout(x, rngs=key, deterministic=False)
