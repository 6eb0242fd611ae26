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
      mean: of the pixels, which is taken from them.
      deviation: of the pixels, by which they are divided. Pictures that are mostly dark are learnt from far faster so.
      rngs: parameters are drawn from `rngs.params`.

    Attributes:
      feature_size: of each place of the grid.
    """

    def __init__(
        self,
        channels: int,
        sizes: Sequence[int] = (16, 32, 64),
        *,
        mean: float = 0.0,
        deviation: float = 1.0,
        rngs: nnx.Rngs,
    ):
        if not sizes:
            raise InputError("an image encoder needs at least one layer, got none.")
        if not deviation > 0:
            raise InputError(f"deviation must be above 0, got {deviation}.")
        self.mean, self.deviation = mean, deviation
        self.channels = channels
        before = [channels + 2, *sizes]
        self.layers = nnx.List(
            nnx.Linear(9 * a, b, rngs=rngs) for a, b in zip(before[:-1], sizes, strict=True)
        )
        self.feature_size = sizes[-1]

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """(S, F) of pictures of so many pixels.

        Raises:
          InputError: if nothing would be left of them.
        """
        shape = jax.eval_shape(self, jax.ShapeDtypeStruct((1, rows, columns, self.channels), float))
        return shape.shape[1], shape.shape[2]

    def __call__(self, images: Array) -> Array:
        """`images [B, Y, X, C] -> [B, S, feature_size]`, places row by row.

        Raises:
          InputError: if they have other channels, or so few pixels that no place would be left.
        """
        least = 2 ** len(self.layers) - 1  # the first layer rounds up
        if images.ndim != 4 or images.shape[-1] != self.channels:
            raise InputError(
                f"images must be of shape ('B', 'Y', 'X', {self.channels}), got {images.shape}."
            )
        if min(images.shape[1:3]) < least:
            raise InputError(
                f"{len(self.layers)} layers, each of which halves a picture, take at least"
                f" {least} x {least} pixels, got {images.shape[1]} x {images.shape[2]}."
            )
        images = _with_places((images - self.mean) / self.deviation)
        for number, layer in enumerate(self.layers):
            images = jax.nn.relu(layer(_neighbours(images, 1 if number else 2)))
            if number:
                images = _largest(images)
        return images.reshape(len(images), -1, self.feature_size)


def _with_places(images: Array) -> Array:
    """Two more channels: the row and the column of each place, from -1 to 1."""
    rows, columns = images.shape[1:3]
    y, x = jnp.meshgrid(jnp.linspace(-1, 1, rows), jnp.linspace(-1, 1, columns), indexing="ij")
    where = jnp.broadcast_to(jnp.stack([y, x], -1), (len(images), rows, columns, 2))
    return jnp.concatenate([images, where], -1)


def _neighbours(images: Array, stride: int) -> Array:
    """The 3 x 3 pixels around each, or around each second one: `[B, Y, X, C] -> [B, Y', X', 9 C]`.

    A convolution is a product with these. XLA's own convolution takes 25 times as long on a CPU where it
    stands inside a loop, as the updates of training do.
    """
    rows, columns = images.shape[1:3]
    padded = jnp.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    shifted = [
        padded[:, y : y + rows : stride, x : x + columns : stride]
        for y in range(3)
        for x in range(3)
    ]
    return jnp.concatenate(shifted, -1)


def _largest(images: Array) -> Array:
    """The maximum over each 2 x 2 pixels; an odd row or column at the end is left out."""
    batch, rows, columns, channels = images.shape
    even = images[:, : rows // 2 * 2, : columns // 2 * 2]
    return even.reshape(batch, rows // 2, 2, columns // 2, 2, channels).max((2, 4))
