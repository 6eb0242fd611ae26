"""Optimizers for rows that few batches touch, as those of an embedding."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from seqjax.types import Array


def lazy_rows(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer on those rows alone whose gradient is not zero.

    A word that is not in a batch has a gradient of zero. Adam moves it nevertheless, by the momentum of
    earlier batches, and lets its second moment decay; here such a row, and all that the optimizer
    remembers of it, stays bit for bit as it was. With Adam within this is TensorFlow's LazyAdam.

    Args:
      optimizer: any whose state has leaves of the parameters' shapes, as those of Optax.

    Returns:
      A transformation for matrices `[V, D]`: other leaves are updated as a whole. Its counters count
      updates, not those of a row.
    """

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del extra
        updates, new_state = optimizer.update(grads, state, params)
        touched = jax.tree.map(_touched, grads)
        updates = jax.tree.map(lambda u, t: jnp.where(t, u, 0), updates, touched)

        def is_like_params(node: Any) -> bool:
            return _shapes(node) == _shapes(grads)

        def keep_rows(new: Any, old: Any) -> Any:
            return jax.tree.map(jnp.where, touched, new, old) if is_like_params(new) else new

        return updates, jax.tree.map(keep_rows, new_state, state, is_leaf=is_like_params)

    return optax.GradientTransformation(optimizer.init, update)


def _shapes(tree: Any) -> Any:
    return jax.tree.map(jnp.shape, tree)


def _touched(grad: Array) -> Array:
    """Which rows have a gradient, `[V, 1]`; of what is no matrix, all."""
    if grad.ndim != 2:
        return jnp.ones((), bool)
    return jnp.any(grad != 0, axis=1, keepdims=True)
