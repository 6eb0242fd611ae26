"""The loss of a network that writes one sequence for another."""

import jax
import jax.numpy as jnp

from seqjax.types import Array


def target_losses(logits: Array, labels: Array, *, pad: int, label_smoothing: float = 0.0) -> Array:
    """-ln p(target | source) in nats, `[B]`, summed over the tokens of each row.

    A sum, and no mean: so the gradient of all examples is the same in whatever batches they stand.

    Args:
      logits: `[B, T, V]`.
      labels: integers `[B, T]`.
      pad: the label that fills up; it counts for nothing, whatever its logits are.
      label_smoothing: share of each label that is spread evenly over all V (Szegedy et al., 2016).
    """
    valid = labels != pad
    log_p = jax.nn.log_softmax(jnp.where(valid[..., None], logits, 0))
    losses = -jnp.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_p.mean(-1)
    return jnp.where(valid, losses, 0).sum(-1)
