"""An image and a question in, an answer out."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError, check_positive
from seqjax.layers import pooling
from seqjax.layers.stack import Stack
from seqjax.models.image_encoder import ImageEncoder
from seqjax.types import Array, Cell

FUSIONS = ("product", "concat", "step")


class QuestionAnswerer(nnx.Module):
    """p(answer | image, question), a softmax over the answers that there are.

    With v = tanh(norm(W features + b)), layer-normalised, and q what the encoder of the question gives after its last word,

        product  tanh(W q + b) * v            (Antol et al., 2015)
        concat   [q, v]
        step     q of an encoder that reads v beside every word    (the lectures; Gao et al., 2015)

    and then a layer of ReLU and the softmax.

    Args:
      vocab_size: of the words of questions.
      num_answers: C.
      cells: layers that read the question, bottom first.
      features: (F,) or (S, F), as of `Captioner`; the places of a grid are taken side by side.
      embedding_size: of a word's vector.
      hidden_size: of v and of the layer of ReLU.
      fusion: one of FUSIONS.
      encoder: makes features of pixels; None where features are given.
      connections: between layers, as of `Stack`.
      dropout: share of units dropped from connections that go up and from what is fused, in [0, 1).
      rngs: parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size or name is out of range.
    """

    def __init__(
        self,
        vocab_size: int,
        num_answers: int,
        cells: Sequence[Cell],
        *,
        features: tuple[int, ...],
        embedding_size: int,
        hidden_size: int,
        fusion: str = "product",
        encoder: ImageEncoder | None = None,
        connections: str = "plain",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        sizes = {"vocab_size": vocab_size, "num_answers": num_answers}
        sizes |= {"embedding_size": embedding_size, "hidden_size": hidden_size}
        for name, size in sizes.items():
            check_positive(name, size)
        if fusion not in FUSIONS:
            raise InputError(f"fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}.")
        if len(features) not in (1, 2) or min(features) < 1:
            raise InputError(f"features must be (F,) or (S, F), got {features}.")
        self.features, self.fusion, self.encoder = tuple(features), fusion, encoder
        self.project = nnx.Linear(math.prod(features), hidden_size, rngs=rngs)
        self.norm = nnx.LayerNorm(
            hidden_size, rngs=rngs
        )  # or else a few large steps fill up the tanh
        # Entries of a deviation of 1: what reads a product learns nothing while a factor is near 0.
        self.embedding = nnx.Embed(
            vocab_size, embedding_size, embedding_init=nnx.initializers.normal(1.0), rngs=rngs
        )
        input_size = embedding_size + (hidden_size if fusion == "step" else 0)
        self.stack = Stack(cells, input_size, connections=connections, dropout=dropout, rngs=rngs)
        size = self.stack.output_size
        self.query = nnx.Linear(size, hidden_size, rngs=rngs)
        self.hidden = nnx.Linear(
            hidden_size * 2 if fusion == "concat" else hidden_size, hidden_size, rngs=rngs
        )
        self.head = nnx.Linear(hidden_size, num_answers, rngs=rngs)
        self.drop = nnx.Dropout(dropout)

    def __call__(
        self, images: Array, tokens: Array, lengths: Array, *, dropout_key: Array | None = None
    ) -> Array:
        """`images [B, ...], tokens [B, T], lengths [B] -> logits [B, C]`; dropout only if a key is given.

        Raises:
          InputError: if the features are of another shape.
        """
        keys: Any = [None, None] if dropout_key is None else jax.random.split(dropout_key)
        v = self.see(images)
        xs = self.embedding(tokens)
        if self.fusion == "step":
            beside = jnp.broadcast_to(v[:, None], (*xs.shape[:2], v.shape[-1]))
            xs = jnp.concatenate([xs, beside], -1)
        _, ys = self.stack(xs, lengths=lengths, dropout_key=keys[0])
        q = jnp.tanh(self.query(pooling.last(ys, lengths)))
        joined = {
            "product": lambda: q * v,
            "concat": lambda: jnp.concatenate([q, v], -1),
            "step": lambda: q,
        }[self.fusion]()
        if keys[1] is not None:
            joined = self.drop(joined, rngs=keys[1], deterministic=False)
        return self.head(jax.nn.relu(self.hidden(joined)))

    def see(self, images: Array) -> Array:
        """v `[B, H]` of `images [B, ...]`.

        Raises:
          InputError: if the features are of another shape.
        """
        found = images if self.encoder is None else self.encoder(images)
        if found.shape[1:] != self.features:
            raise InputError(
                f"features must be of shape {('B', *self.features)}, got {found.shape}."
            )
        return jnp.tanh(self.norm(self.project(found.reshape(len(found), -1))))
