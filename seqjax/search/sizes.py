"""Networks of many sizes in arrays of one shape, so that one program trains them side by side.

A cell of `size` units contains every smaller one: the weights into, out of and between its other units
are zero, and stay zero if their gradients are masked too. The units that remain compute what they would
compute alone, in cells whose units stay at zero without input, as the LSTM, its variants and the GRU do. It does
not hold of those whose units are normalised together, share heads, or turn by an orthogonal matrix that is made of
other parameters: `lstm_layer_norm`, `gru_layer_norm`, `cayley_rnn`, `householder_rnn`, `urnn`, `hgrn`, `gla`, `mlstm`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.types import Array, Params


def hidden_mask(init: Callable[[int], Params], size: int, hidden_size: Array) -> Params:
    """Ones where a parameter belongs to the first units of each block of `size`, zeros elsewhere.

    The axes that count units, and how many blocks of units they hold, follow from the shapes of a
    network with one unit more.

    Args:
      init: from a number of units to parameters; only their shapes are used.
      size: units of the arrays.
      hidden_size: units that are used, an integer or a traced one.

    Returns:
      A tree like the parameters; each leaf is float32 and broadcasts to its parameter.
    """
    here, more = (jax.eval_shape(lambda n=n: init(n)) for n in (size, size + 1))
    counts = jnp.arange(size) < hidden_size

    def leaf(a: jax.ShapeDtypeStruct, b: jax.ShapeDtypeStruct) -> Array:
        mask = jnp.ones((1,) * len(a.shape))
        for axis, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)):
            if m != n:
                units = jnp.tile(counts, m - n).astype(jnp.float32)
                mask = mask * jnp.expand_dims(units, [i for i in range(len(a.shape)) if i != axis])
        return mask

    return jax.tree.map(leaf, here, more)


def masked(params: Any, mask: Any) -> Any:
    """The parameters, or gradients, of the smaller network in the arrays of the larger one."""
    return jax.tree.map(lambda p, m: jnp.where(m != 0, p, 0), params, mask)
