"""The binary Tree-LSTM: the N-ary one of Tai, Socher and Manning (2015), equations 9 to 14, with N = 2.

Of a node with the input x and two children, k = 1, 2:

    i  = σ(Wᵢ x + Uᵢ₁ h₁ + Uᵢ₂ h₂ + bᵢ)
    fₖ = σ(W_f x + U_fₖ₁ h₁ + U_fₖ₂ h₂ + b_f)        a gate for each child
    g  = tanh(W_g x + U_g₁ h₁ + U_g₂ h₂ + b_g)       the paper's u
    o  = σ(Wₒ x + Uₒ₁ h₁ + Uₒ₂ h₂ + bₒ)
    c  = i ⊙ g + f₁ ⊙ c₁ + f₂ ⊙ c₂
    h  = o ⊙ tanh(c)

A leaf has no children: h₁ = h₂ = c₁ = c₂ = 0. An inner node of a constituency tree has no input: x = 0.

Parameters: w [D, 4H] and b [4H], side by side in the order i, f, g, o; u [2H, 5H], the rows of the first
child above those of the second, in the order i, f₁, f₂, g, o. As in the paper, the gates of both children
share W_f and b_f.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.types import Array, Initializer, Params, TreeCell


class TreeLSTMState(NamedTuple):
    h: Array  # [..., H]
    c: Array  # [..., H]


def tree_lstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
) -> TreeCell:
    """Builds a binary Tree-LSTM.

    Args:
      hidden_size: H.
      kernel_init: draws each gate's `[D, H]`.
      recurrent_init: draws each gate's `[H, H]`, of each child.
      bias_init: draws the biases, called with the shape `[4, H]`, rows i, f, g, o.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        check_positive("input_size", input_size)
        kernel_key, *child_keys, bias_key = jax.random.split(key, 4)
        draw_kernel = initializers.per_gate(kernel_init, 4)
        draw_recurrent = initializers.per_gate(recurrent_init, 5)
        shape = (hidden_size, 5 * hidden_size)
        return {
            "w": draw_kernel(kernel_key, (input_size, 4 * hidden_size), jnp.float32),
            "u": jnp.concatenate([draw_recurrent(k, shape, jnp.float32) for k in child_keys]),
            "b": bias_init(bias_key, (4, hidden_size), jnp.float32).reshape(-1),
        }

    return TreeCell(init, leaf, join, lambda state: state.h, hidden_size, arity=2)


def leaf(params: Params, x: Array) -> TreeLSTMState:
    """A node without children: `x [..., D]`."""
    i, _, g, o = jnp.split(x @ params["w"] + params["b"], 4, axis=-1)
    return _state(jax.nn.sigmoid(i) * jnp.tanh(g), o)


def join(
    params: Params, children: TreeLSTMState, present: Array, x: Array | None = None
) -> TreeLSTMState:
    """A node above two children `[..., 2, H]`, zeros where one is missing."""
    del present
    own = params["b"] if x is None else x @ params["w"] + params["b"]
    both = children.h.reshape(*children.h.shape[:-2], -1)
    z = both @ params["u"]
    i, f, g, o = jnp.split(own, 4, axis=-1)
    z_i, z_f1, z_f2, z_g, z_o = jnp.split(z, 5, axis=-1)
    c = jax.nn.sigmoid(i + z_i) * jnp.tanh(g + z_g)
    c = c + jax.nn.sigmoid(f + z_f1) * children.c[..., 0, :]
    c = c + jax.nn.sigmoid(f + z_f2) * children.c[..., 1, :]
    return _state(c, o + z_o)


def _state(c: Array, o: Array) -> TreeLSTMState:
    return TreeLSTMState(jax.nn.sigmoid(o) * jnp.tanh(c), c)
