"""Running parity: whether the number of ones so far is odd. A state that keeps only sums cannot follow it."""

import jax
import jax.numpy as jnp

from seqjax.tasks.episode import Episode, check_sizes, in_32_bits
from seqjax.types import Array


@in_32_bits
def running_parity(key: Array, batch_size: int, length: int) -> Episode:
    """Bits drawn with probability ½, and at every step the parity of all up to it, T = `length`.

    Inputs one-hot of two classes `[T, B, 2]`, targets int32 `[T, B]`; guessing is right half of the time. A linear
    recurrence whose factors are positive cannot count modulo two (Grazzi et al., 2025); one number of a nonlinear
    state can.
    """
    check_sizes("running parity", batch_size, length, 1)
    bits = jax.random.randint(key, (length, batch_size), 0, 2)
    targets = jnp.cumsum(bits, axis=0) % 2
    return Episode(jax.nn.one_hot(bits, 2), targets, jnp.ones(targets.shape))
