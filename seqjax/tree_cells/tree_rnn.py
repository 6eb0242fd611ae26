"""The recursive network (Socher et al., 2011; as the "RNN" of Socher et al., 2013).

    h = tanh(x)                            of a leaf, x its word's vector
    h = tanh(W₁ h₁ + W₂ h₂ + b)            of an inner node, above two children

The tanh of a leaf is of the authors' code. An inner node has no input, and a word's vector has the
size of a state: D = H.

Parameters: u [2H, H], the rows of the first child above those of the second, and b [H].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Initializer, Params, TreeCell


class TreeRNNState(NamedTuple):
    h: Array  # [..., H]


def tree_rnn(
    hidden_size: int,
    *,
    recurrent_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
) -> TreeCell:
    """Builds a recursive network.

    Args:
      hidden_size: H, and the size of the inputs.
      recurrent_init: draws `[2H, H]`.
      bias_init: draws `[H]`.

    Raises:
      InputError: if hidden_size is not a positive integer; from `init` if the inputs are not of that
        size.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        check_same_size(input_size, hidden_size)
        recurrent_key, bias_key = jax.random.split(key)
        return {
            "u": recurrent_init(recurrent_key, (2 * hidden_size, hidden_size), jnp.float32),
            "b": bias_init(bias_key, (hidden_size,), jnp.float32),
        }

    return TreeCell(init, leaf, join, lambda state: state.h, hidden_size, arity=2)


def leaf(params: Params, x: Array) -> TreeRNNState:
    """A node without children: `x [..., H]`."""
    del params
    return TreeRNNState(jnp.tanh(x))


def join(
    params: Params, children: TreeRNNState, present: Array, x: Array | None = None
) -> TreeRNNState:
    """A node above two children `[..., 2, H]`."""
    del present
    check_no_input(x)
    return TreeRNNState(jnp.tanh(side_by_side(children) @ params["u"] + params["b"]))


def side_by_side(children: TreeRNNState) -> Array:
    """Both children as one vector `[..., 2H]`."""
    return children.h.reshape(*children.h.shape[:-2], -1)


def check_same_size(input_size: int, hidden_size: int) -> None:
    """Raises InputError unless a word's vector can be a state."""
    check_positive("input_size", input_size)
    if input_size != hidden_size:
        raise InputError(
            "a word's vector is the state of its leaf in this cell: input_size must be the"
            f" hidden_size, {hidden_size}, got {input_size}."
        )


def check_no_input(x: Array | None) -> None:
    """Raises InputError if an inner node has an input."""
    if x is not None:
        raise InputError("inner nodes of this cell take no input: give inputs for leaves alone.")
