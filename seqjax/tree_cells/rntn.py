"""The recursive neural tensor network (Socher et al., 2013).

    h = tanh(x)                                          of a leaf, x its word's vector
    hⱼ = tanh(Σₐᵦ pₐ Vₐᵦⱼ pᵦ + (U p)ⱼ + bⱼ)              of an inner node; p = (h₁, h₂), both children

The tanh of a leaf is of the authors' code. An inner node has no input, and a word's vector has the
size of a state: D = H.

Parameters: v [2H, 2H, H], u [2H, H] and b [H].
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.tree_cells.tree_rnn import (
    TreeRNNState,
    check_no_input,
    check_same_size,
    leaf,
    side_by_side,
)
from seqjax.types import Array, Initializer, Params, TreeCell


def rntn(
    hidden_size: int,
    *,
    recurrent_init: Initializer = initializers.lecun_normal(),
    tensor_init: Initializer | None = None,
    bias_init: Initializer = initializers.zeros,
) -> TreeCell:
    """Builds a recursive neural tensor network.

    Args:
      hidden_size: H, and the size of the inputs; the tensor has 4 H³ entries.
      recurrent_init: draws `[2H, H]`.
      tensor_init: draws `[2H, 2H, H]`; U(-1/(4H), 1/(4H)) if None.
      bias_init: draws `[H]`.

    Raises:
      InputError: if hidden_size is not a positive integer; from `init` if the inputs are not of that
        size.
    """
    check_positive("hidden_size", hidden_size)
    draw_tensor = tensor_init or initializers.uniform(1 / (4 * hidden_size))

    def init(key: Array, input_size: int) -> Params:
        check_same_size(input_size, hidden_size)
        tensor_key, recurrent_key, bias_key = jax.random.split(key, 3)
        pair = 2 * hidden_size
        return {
            "v": draw_tensor(tensor_key, (pair, pair, hidden_size), jnp.float32),
            "u": recurrent_init(recurrent_key, (pair, hidden_size), jnp.float32),
            "b": bias_init(bias_key, (hidden_size,), jnp.float32),
        }

    return TreeCell(init, leaf, join, lambda state: state.h, hidden_size, arity=2)


def join(
    params: Params, children: TreeRNNState, present: Array, x: Array | None = None
) -> TreeRNNState:
    """A node above two children `[..., 2, H]`."""
    del present
    check_no_input(x)
    pair = side_by_side(children)
    size = pair.shape[-1]
    # One matrix product with all slices of the tensor side by side, then one sum.
    half = (pair @ params["v"].reshape(size, -1)).reshape(*pair.shape, -1)
    squared = (pair[..., None] * half).sum(-2)
    return TreeRNNState(jnp.tanh(squared + pair @ params["u"] + params["b"]))
