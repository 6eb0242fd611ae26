"""A label for every frame of a film."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError, check_fraction, check_positive
from seqjax.layers.stack import Stack
from seqjax.models.image_encoder import ImageEncoder
from seqjax.types import Array, Cell


class FrameLabeller(nnx.Module):
    """p(label of a frame | the frames that may be seen): each frame's features, a stack over time, a softmax.

    Without cells it sees a window of frames and nothing else: the network that a recurrent one is compared with.

    Args:
      num_classes: C.
      cells: the layers over time, bottom first; [] for none.
      frame: the shape of what is given of a frame: (F,), or pixels (Y, X, channels).
      hidden_size: of a frame's features after a layer of ReLU.
      window: how many frames are put side by side, the last being the one that is labelled.
      bidirectional: whether the stack sees the frames to come, too.
      connections: between layers, as of `Stack`.
      encoder: makes features of a frame's pixels (Donahue et al., 2015); None: they are taken side by side.
      dropout: share of units dropped, in [0, 1).
      rngs: parameters are drawn from `rngs.params`.

    Raises:
      InputError: if a size is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        cells: Sequence[Cell],
        *,
        frame: tuple[int, ...],
        hidden_size: int,
        window: int = 1,
        bidirectional: bool = False,
        encoder: ImageEncoder | None = None,
        connections: str = "plain",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        sizes = {"num_classes": num_classes, "hidden_size": hidden_size, "window": window}
        for name, size in sizes.items():
            check_positive(name, size)
        check_fraction("dropout", dropout)
        self.frame, self.window, self.encoder = tuple(frame), window, encoder
        if encoder is not None and len(frame) != 3:
            raise InputError(
                f"an encoder takes frames of pixels (Y, X, channels), got {self.frame}."
            )
        shape = encoder.grid(frame[0], frame[1]) if encoder is not None else frame
        self.project = nnx.Linear(math.prod(shape) * window, hidden_size, rngs=rngs)
        self.stack = None
        if cells:
            self.stack = nnx.data(
                Stack(
                    cells,
                    hidden_size,
                    bidirectional=bidirectional,
                    connections=connections,
                    dropout=dropout,
                    rngs=rngs,
                )
            )
        size = hidden_size if self.stack is None else self.stack.output_size
        self.head = nnx.Linear(size, num_classes, rngs=rngs)
        self.drop = nnx.Dropout(dropout)

    def __call__(
        self, frames: Array, lengths: Array | None = None, *, dropout_key: Array | None = None
    ) -> Array:
        """`frames [B, T, *frame], lengths [B] -> logits [B, T, C]`; dropout only if a key is given.

        Raises:
          InputError: if the frames are of another shape.
        """
        if frames.shape[2:] != self.frame:
            raise InputError(
                f"frames must be of shape {('B', 'T', *self.frame)}, got {frames.shape}."
            )
        batch, steps = frames.shape[:2]
        if lengths is not None:  # before any product: a NaN would reach its gradient, as 0 · NaN
            valid = jnp.arange(steps) < jnp.asarray(lengths)[:, None]
            frames = jnp.where(jnp.expand_dims(valid, range(2, frames.ndim)), frames, 0)
        if self.encoder is not None:
            frames = self.encoder(frames.reshape(batch * steps, *self.frame))
        features = frames.reshape(batch, steps, -1)
        # frames before the first are zeros
        before = [
            jnp.pad(features, [(0, 0), (k, 0), (0, 0)])[:, :steps] for k in range(self.window)
        ]
        xs = jax.nn.relu(self.project(jnp.concatenate(before, -1)))
        if self.stack is not None:
            _, xs = self.stack(xs, lengths=lengths, dropout_key=dropout_key)
        elif dropout_key is not None:
            xs = self.drop(xs, rngs=dropout_key, deterministic=False)
        return self.head(xs)
