"""A sequence in, one label out for each of its steps."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.errors import InputError, check_positive
from seqjax.layers import crf, pooling
from seqjax.layers.bidirectional import Bidirectional
from seqjax.layers.stack import Stack
from seqjax.types import Array, Cell

_EMBEDDING_INIT = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


class Feature(NamedTuple):
    """What is read of each word: its own id, that of its ending, of its capitals, its letters."""

    kinds: int  # V, how many values it has
    size: int  # of a value's vector


class SequenceTagger(nnx.Module):
    """Embed the features of each word, run a stack, score the tags of each word.

    Words, suffixes and capitals as in Huang, Xu and Yu (2015); letters by a network of their own as
    in Ling et al. (2015) and Lample et al. (2016); a softmax at each step, or a CRF over all.

    Args:
      features: of a word, F of them; their vectors are put side by side.
      num_tags: K.
      cells: the layers, bottom first.
      letters: the feature of single letters, read in both directions by `letter_cell`; or None.
      letter_cell: reads the letters of a word.
      bidirectional: run each layer in both directions.
      connections: between layers, as of `Stack`.
      dropout: share of units dropped on every connection that goes up.
      transitions: whether there is a linear-chain CRF over the tags.
      vectors: the first values of the first feature's embedding; drawn if None.
      rngs: NNX random streams; parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size, rate or name is out of range.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        num_tags: int,
        cells: Sequence[Cell],
        *,
        letters: Feature | None = None,
        letter_cell: Cell | None = None,
        bidirectional: bool = True,
        connections: str = "plain",
        dropout: float = 0.0,
        transitions: bool = False,
        vectors: np.ndarray | None = None,
        rngs: nnx.Rngs,
    ):
        if not features:
            raise InputError("SequenceTagger needs at least one feature, got an empty sequence.")
        check_positive("num_tags", num_tags)
        self.embeddings = nnx.List([_embedding(feature, rngs) for feature in features])
        if vectors is not None:
            if vectors.shape != (features[0].kinds, features[0].size):
                raise InputError(
                    f"vectors must have shape {tuple(features[0])}, got {vectors.shape}."
                )
            self.embeddings[0].embedding = nnx.Param(jnp.asarray(vectors, jnp.float32))
        size = sum(feature.size for feature in features)
        self.reads_letters = letters is not None
        if letters is not None:
            if letter_cell is None:
                raise InputError("letters need a letter_cell that reads them, got None.")
            self.letter_embedding = _embedding(letters, rngs)
            self.letter_layer = Bidirectional(letter_cell, letters.size, rngs=rngs)
            size += self.letter_layer.output_size
        self.stack = Stack(
            cells,
            size,
            bidirectional=bidirectional,
            connections=connections,
            dropout=dropout,
            rngs=rngs,
        )
        self.head = nnx.Linear(self.stack.output_size, num_tags, rngs=rngs)
        if transitions:
            self.start = nnx.Param(jnp.zeros(num_tags))
            self.between = nnx.Param(jnp.zeros((num_tags, num_tags)))
            self.end = nnx.Param(jnp.zeros(num_tags))
        self.has_transitions = transitions

    def __call__(
        self,
        features: Array,
        lengths: Array | None = None,
        *,
        letters: Array | None = None,
        dropout_key: Array | None = None,
    ) -> Array:
        """The scores of each word's tags, `[B, T, K]`: logits of a softmax, or emissions of the CRF.

        Args:
          features: integers `[B, T, F]`.
          lengths: integers `[B]`, how many words each row has; None for all T.
          letters: integers `[B, T, L]`, 0 after a word's last letter; where the model reads them.
          dropout_key: for dropout in training; None for evaluation.

        Raises:
          InputError: if the features or the letters are not those of this tagger.
        """
        if features.ndim != 3 or features.shape[-1] != len(self.embeddings):
            raise InputError(
                f"this tagger reads features [B, T, {len(self.embeddings)}], got an array of shape"
                f" {features.shape}."
            )
        if letters is not None and not self.reads_letters:
            raise InputError("this tagger reads no letters: leave them out.")
        vectors = [table(features[..., i]) for i, table in enumerate(self.embeddings)]
        if self.reads_letters:
            if letters is None:
                raise InputError("this tagger reads letters [B, T, L], got None.")
            key = None if dropout_key is None else jax.random.fold_in(dropout_key, 1)
            vectors.append(self._read_letters(letters, key))
        xs = jnp.concatenate(vectors, -1)
        _, ys = self.stack(xs, lengths=lengths, dropout_key=dropout_key)
        return self.head(ys)

    def transitions(self) -> crf.Transitions | None:
        """The CRF's parameters as plain arrays; None if there is none."""
        if not self.has_transitions:
            return None
        return crf.Transitions(
            self.start.get_value(), self.between.get_value(), self.end.get_value()
        )

    def best_tags(self, emissions: Array, lengths: Array) -> Array:
        """The most probable tags `[B, T]` int32; past a row's length they mean nothing."""
        transitions = self.transitions()
        if transitions is None:
            return emissions.argmax(-1).astype(jnp.int32)
        return crf.viterbi(transitions, emissions, lengths)[0]

    def _read_letters(self, letters: Array, key: Array | None) -> Array:
        words = letters.reshape(-1, letters.shape[-1])
        lengths = (words > 0).sum(1)
        _, ys = self.letter_layer(self.letter_embedding(words), lengths=lengths, key=key)
        last = pooling.last(ys, lengths, backward=self.letter_layer.backward_features)
        return last.reshape(*letters.shape[:-1], -1)


def _embedding(feature: Feature, rngs: nnx.Rngs) -> nnx.Embed:
    check_positive("kinds of a feature", feature.kinds)
    check_positive("size of a feature", feature.size)
    return nnx.Embed(feature.kinds, feature.size, embedding_init=_EMBEDDING_INIT, rngs=rngs)
