"""What a cell is, and the letters that every shape in seqjax is written with.

T time, B batch, D input features, H hidden units, G gates, V vocabulary, P population.
`...` stands for any number of batch axes, none included.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
Params = Any  # a pytree of arrays; the cells of seqjax use a plain dict
State = Any  # a pytree of arrays [..., H]; the cells of seqjax use a NamedTuple
Initializer = Callable[..., Array]  # (key, shape, dtype) -> array, as jax.nn.initializers


class Cell(NamedTuple):
    """A recurrent cell: a value made of pure functions, built by a factory such as `lstm`.

    Build a cell once, outside `jit`: a second `lstm(8)` is a different function object and
    compiles again.

    Attributes:
      init: `(key, input_size) -> params`, float32 parameters for inputs `[..., input_size]`.
      initial_state: `(batch_shape) -> state`, the state before the first step, float32 zeros
        unless the cell says otherwise; `batch_shape` is a tuple, `()` for a single sequence.
      step: `(params, state, x) -> (state, y)`, one time step, the paper's equations and
        nothing else. `x` is `[..., D]` and `y` is `[..., output_size]`, so that
        `partial(step, params)` is the body of a `lax.scan`.
      output_size: the size of the last axis of `y`.
    """

    init: Callable[[Array, int], Params]
    initial_state: Callable[[tuple[int, ...]], State]
    step: Callable[[Params, State, Array], tuple[State, Array]]
    output_size: int
