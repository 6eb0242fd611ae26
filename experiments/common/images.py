"""What programs share whose networks see images: pixels in bytes, images exchanged, networks asked."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.models import ImageEncoder
from seqjax.training.labelling import Labelled
from seqjax.training.modules import merge_model, split_model
from seqjax.types import Array, Params

LARGEST_PIXEL = 255
AT_ONCE = 100  # images
BLIND_SHARE = 4  # who sees nothing trains for a quarter of the epochs: it has less to find out


def as_floats(images: Array) -> Array:
    """Pixels in bytes as numbers between 0 and 1; features as they are."""
    return images / LARGEST_PIXEL if images.dtype == jnp.uint8 else images


def make_encoder(pixels: np.ndarray, rngs: nnx.Rngs) -> ImageEncoder:
    """An untrained encoder of pictures such as these `[N, Y, X, C]`, in bytes."""
    mean, deviation = float(pixels.mean()), max(float(pixels.std()), 1.0)
    return ImageEncoder(
        pixels.shape[-1], mean=mean / LARGEST_PIXEL, deviation=deviation / LARGEST_PIXEL, rngs=rngs
    )


def exchanged(examples: Labelled, seed: int) -> Labelled:
    """The same examples, each with the image of another, at random: the control that sees nothing."""
    order = np.random.default_rng(seed).permutation(len(examples.lengths))
    inputs = {**examples.inputs, "image": examples.inputs["image"][order]}
    return examples._replace(inputs=inputs)


def make_ask(
    model: nnx.Module, function: Callable[[Any, Any], Any]
) -> Callable[[Params, Any], Any]:
    """Builds `ask(params, inputs [N, ...]) -> arrays [N, ...]`, in batches of one size."""
    split = split_model(model)
    apply = jax.jit(lambda params, inputs: function(merge_model(split, params), inputs))

    def ask(params: Params, inputs: Any) -> Any:
        count = len(jax.tree.leaves(inputs)[0])
        pieces = []
        for start in range(0, count, AT_ONCE):
            rows = np.minimum(np.arange(start, start + AT_ONCE), count - 1)
            pieces.append(apply(params, jax.tree.map(lambda a, rows=rows: a[rows], inputs)))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *jax.device_get(pieces))

    return ask
