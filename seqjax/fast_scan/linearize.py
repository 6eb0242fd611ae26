"""The gradient of a scan as JAX makes it, for steps whose derivative cannot be read."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.tree_util import Partial


def linearize(function: Callable, inputs: tuple, moving: list[bool]) -> tuple[Any, Partial]:
    """The outputs, and the function from their cotangents to those of the inputs.

    A cotangent that is None is no cotangent: what leads to that output alone is not transposed, so
    that it may be what has no transpose.

    Args:
      function: of `inputs`.
      inputs: pytrees.
      moving: for each leaf of the inputs whether it is to get a cotangent; the others get None.
    """
    leaves, tree = jax.tree.flatten(inputs)
    places = [i for i, moves in enumerate(moving) if moves]

    def run(*values: Any) -> Any:
        merged = dict(enumerate(leaves)) | dict(zip(places, values, strict=True))
        return function(*jax.tree.unflatten(tree, list(merged.values())))

    values = [leaves[i] for i in places]
    outputs, tangents = jax.linearize(run, *values)
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in values]
    return outputs, Partial(partial(_transpose, tree, places, shapes), tangents)


def _transpose(tree: Any, places: list[int], shapes: list, tangents: Partial, cts: Any) -> Any:
    flat_cts = jax.tree.leaves(cts, is_leaf=lambda ct: ct is None)
    wanted = [i for i, ct in enumerate(flat_cts) if ct is not None]

    def run(*moving: Any) -> list:
        moved = jax.tree.leaves(tangents(*moving))
        return [moved[i] for i in wanted]

    input_cts = jax.linear_transpose(run, *shapes)([flat_cts[i] for i in wanted])
    by_place = dict(zip(places, input_cts, strict=True))
    return jax.tree.unflatten(tree, [by_place.get(i) for i in range(tree.num_leaves)])
