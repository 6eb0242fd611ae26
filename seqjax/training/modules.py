"""A Flax NNX module as a pure function of its parameters, of its statistics and of a key."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.types import Array, Params


class Split(NamedTuple):
    """A module taken apart; every part but `graphdef` is a nested dict of arrays.

    Attributes:
      graphdef: its structure, a static value; with `params` alone, `nnx.merge(graphdef, params)`
        is the module again where it has neither statistics nor streams.
      params: what `nnx.Param` says: what a gradient is taken of and an optimizer updates.
      statistics: every other value that calls change, such as the means of a BatchNorm. A loss
        returns them, and the train state carries them.
      streams: the states of random streams, such as a Dropout's. They are never trained and never
        saved: each update has a key of its own.
    """

    graphdef: Any
    params: Params
    statistics: Any
    streams: Any


def split_model(model: nnx.Module) -> Split:
    """Takes a module apart."""
    graphdef, *states = nnx.split(model, nnx.Param, nnx.Not(nnx.RngState), ...)
    return Split(graphdef, *map(nnx.to_pure_dict, states))


def merge_model(
    split: Split, params: Params, statistics: Any = None, *, key: Array | None = None
) -> Any:
    """The module with these parameters.

    Args:
      split: the module taken apart.
      params: in the place of `split.params`.
      statistics: in the place of `split.statistics`; those if None.
      key: starts all random streams; without one they are as they were at first.
    """
    statistics = split.statistics if statistics is None else statistics
    streams = split.streams if key is None else _started(split.streams, key)
    return nnx.merge(split.graphdef, params, statistics, streams)


def statistics_of(model: nnx.Module) -> Any:
    """The statistics of a module after a call, as `Split.statistics` has them."""
    return split_model(model).statistics


def _started(streams: Any, key: Array) -> Any:
    """The streams with keys of their own, drawn from one key, where they had others."""
    leaves, tree = jax.tree.flatten(streams)
    keyed = [
        jax.random.fold_in(key, number) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for number, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, keyed)
