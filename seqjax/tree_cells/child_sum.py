"""The Child-Sum Tree-LSTM of Tai, Socher and Manning (2015), equations 2 to 8.

Of a node with the input x and any number of children k, in no order:

    h̃  = Σₖ hₖ
    i  = σ(Wᵢ x + Uᵢ h̃ + bᵢ)
    fₖ = σ(W_f x + U_f hₖ + b_f)        a gate for each child
    g  = tanh(W_g x + U_g h̃ + b_g)      the paper's u
    o  = σ(Wₒ x + Uₒ h̃ + bₒ)
    c  = i ⊙ g + Σₖ fₖ ⊙ cₖ
    h  = o ⊙ tanh(c)

A leaf has no children, and the sums are zero. A node without an input has x = 0.

Parameters: w [D, 4H], u [H, 4H], b [4H], the gates side by side in the order i, f, g, o: those of
`seqjax.lstm`, which this is where every node has one child.
"""

import jax
import jax.numpy as jnp

from seqjax import init as initializers
from seqjax.errors import check_positive
from seqjax.tree_cells.tree_lstm import TreeLSTMState, leaf
from seqjax.types import Array, Initializer, Params, TreeCell


def child_sum_tree_lstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.forget_bias(1.0),
) -> TreeCell:
    """Builds a Child-Sum Tree-LSTM; arguments as those of `seqjax.lstm`.

    Raises:
      InputError: if hidden_size is not a positive integer.
    """
    check_positive("hidden_size", hidden_size)

    def init(key: Array, input_size: int) -> Params:
        check_positive("input_size", input_size)
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        draw_kernel = initializers.per_gate(kernel_init, 4)
        draw_recurrent = initializers.per_gate(recurrent_init, 4)
        return {
            "w": draw_kernel(kernel_key, (input_size, 4 * hidden_size), jnp.float32),
            "u": draw_recurrent(recurrent_key, (hidden_size, 4 * hidden_size), jnp.float32),
            "b": bias_init(bias_key, (4, hidden_size), jnp.float32).reshape(-1),
        }

    return TreeCell(init, leaf, join, lambda state: state.h, hidden_size, arity=0)


def join(
    params: Params, children: TreeLSTMState, present: Array, x: Array | None = None
) -> TreeLSTMState:
    """A node above K children `[..., K, H]`, zeros where one is missing."""
    del present  # a missing child adds zero to every sum
    own = params["b"] if x is None else x @ params["w"] + params["b"]
    u_i, u_f, u_g, u_o = jnp.split(params["u"], 4, axis=-1)
    i, f, g, o = jnp.split(own, 4, axis=-1)
    together = children.h.sum(-2) @ jnp.concatenate([u_i, u_g, u_o], axis=-1)
    z_i, z_g, z_o = jnp.split(together, 3, axis=-1)
    forget = jax.nn.sigmoid(f[..., None, :] + children.h @ u_f)
    c = jax.nn.sigmoid(i + z_i) * jnp.tanh(g + z_g) + (forget * children.c).sum(-2)
    return TreeLSTMState(jax.nn.sigmoid(o + z_o) * jnp.tanh(c), c)
