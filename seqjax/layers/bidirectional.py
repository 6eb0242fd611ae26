"""One cell that reads forward and one that reads backward, as a Flax NNX layer."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.layers.rnn import RNN
from seqjax.types import Array, Cell, State


class Bidirectional(nnx.Module):
    """Both directions of a sequence, side by side (Schuster and Paliwal, 1997). Batch-major.

    Attributes:
      forward: reads from the first step.
      backward: reads from each row's own last step.
    """

    def __init__(self, cell: Cell, input_size: int, *, rngs: nnx.Rngs):
        self.forward = RNN(cell, input_size, rngs=rngs)
        self.backward = RNN(cell, input_size, rngs=rngs)

    @property
    def output_size(self) -> int:
        return self.forward.output_size + self.backward.output_size

    @property
    def backward_features(self) -> np.ndarray:
        """Which features of the output read backward, bools `[2H]`."""
        return np.arange(self.output_size) >= self.forward.output_size

    def initial_state(self, batch_size: int) -> tuple[State, State]:
        """The states before each direction's first step, leaves `[B, H]`."""
        return self.forward.initial_state(batch_size), self.backward.initial_state(batch_size)

    def __call__(
        self,
        xs: Array,
        state: tuple[State, State] | None = None,
        *,
        lengths: Array | None = None,
        key: Array | None = None,
    ) -> tuple[tuple[State, State], Array]:
        """`xs [B, T, D] -> ((forward_state, backward_state), ys [B, T, 2H])`; the rest as `unroll`."""
        start, end = (None, None) if state is None else state
        keys = (None, None) if key is None else jax.random.split(key)
        start, forward_ys = self.forward(xs, start, lengths=lengths, key=keys[0])
        end, backward_ys = self.backward(xs, end, lengths=lengths, reverse=True, key=keys[1])
        return (start, end), jnp.concatenate([forward_ys, backward_ys], -1)
