"""Pixels to a grid of features: a small convolutional network."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.errors import InputError
from seqjax.types import Array


class ImageEncoder(nnx.Module):
    """Convolutions of 3 x 3 with ReLU, of which each halves the picture: the first by its stride, the others
    by a maximum over 2 x 2.

    Two more channels tell every place its row and column, from -1 to 1 (Liu et al., 2018): what a network
    needs to say where something is.

    Args:
      channels: of the input.
      sizes: numbers of features of the layers.
      rngs: parameters are drawn from `rngs.params`.

    Attributes:
      feature_size: of each place of the grid.
    """

    def __init__(self, channels: int, sizes: Sequence[int] = (16, 32, 64), *, rngs: nnx.Rngs):
        if not sizes:
            raise InputError("an image encoder needs at least one layer, got none.")
        self.channels = channels
        before = [channels + 2, *sizes]
        self.layers = nnx.List(
            nnx.Conv(a, b, (3, 3), strides=1 if number else 2, rngs=rngs)
            for number, (a, b) in enumerate(zip(before[:-1], sizes, strict=True))
        )
        self.feature_size = sizes[-1]

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """(S, F) of pictures of so many pixels."""
        shape = jax.eval_shape(self, jax.ShapeDtypeStruct((1, rows, columns, self.channels), float))
        return shape.shape[1], shape.shape[2]

    def __call__(self, images: Array) -> Array:
        """`images [B, Y, X, C] -> [B, S, feature_size]`, places row by row."""
        rows, columns = images.shape[1:3]
        y = jnp.broadcast_to(jnp.linspace(-1, 1, rows)[:, None, None], (rows, columns, 1))
        x = jnp.broadcast_to(jnp.linspace(-1, 1, columns)[None, :, None], (rows, columns, 1))
        where = jnp.broadcast_to(jnp.concatenate([y, x], -1), (len(images), rows, columns, 2))
        images = jnp.concatenate([images, where], -1)
        for number, layer in enumerate(self.layers):
            images = jax.nn.relu(layer(images))
            if number:
                images = nnx.max_pool(images, (2, 2), (2, 2))
        return images.reshape(len(images), -1, self.feature_size)
