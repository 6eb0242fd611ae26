"""What a cell is, and the letters that every shape in seqjax is written with.

T time, B batch, D input features, H hidden units, G gates, V vocabulary, P population.
`...` stands for any number of batch axes, none included.
"""

from collections.abc import Callable
from functools import wraps
from operator import index
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from seqjax.errors import InputError, check_positive, shown

Array = jax.Array
Params = Any  # a pytree of arrays; the cells of seqjax use a plain dict
State = Any  # a pytree of arrays [..., H]; the cells of seqjax use a NamedTuple
Initializer = Callable[..., Array]  # (key, shape, dtype) -> array, as jax.nn.initializers


class Noise(NamedTuple):
    """What a cell draws at random in training, dropout masks say: outside the loop, from a key.

    A mask that is the same at every step stands beside the parameters, and one of each step beside
    x, so that the products of the inputs still leave the loop. Without a key, `Cell.step` runs: the
    evaluation.

    Attributes:
      per_sequence: `(key, batch_shape, input_size) -> masks`, a pytree, drawn once.
      per_step: `(key, batch_shape, input_size) -> masks` of one step, drawn with a key for each.
      step: `(params, (per_sequence, per_step), state, x) -> (state, y)`, as `Cell.step` with masks.
    """

    per_sequence: Callable[[Array, tuple[int, ...], int], Any]
    per_step: Callable[[Array, tuple[int, ...], int], Any]
    step: Callable[[Params, tuple[Any, Any], State, Array], tuple[State, Array]]


class _Cell(NamedTuple):
    init: Callable[[Array, int], Params]
    initial_state: Callable[[tuple[int, ...]], State]
    step: Callable[[Params, State, Array], tuple[State, Array]]
    output_size: int
    gates: Callable[[Params, State, Array], Any] | None = None
    update: Callable[[Params, State, Any], tuple[State, Array]] | None = None
    noise: Noise | None = None


class Cell(_Cell):
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
      gates: `(params, state, x) -> activations`, what `step` computes on its way to the new state:
        a NamedTuple of `[..., H]`, by the names that the cell's equations give them. A plain
        recurrent network has one, h. None for a cell that shows nothing, as those of wrappers.
      update: `(params, state, gates) -> (state, y)`, what `step` makes of `gates`, so that a wrapper may
        change them in between; None where the gates are not all that the state is made of.
      noise: the cell's randomness in training; None for a cell that has none.
    """

    __slots__ = ()

    def __new__(cls, init: Callable, initial_state: Callable, *rest: Any, **named: Any) -> "Cell":
        return super().__new__(cls, _checked(init), _of_any_batch(initial_state), *rest, **named)


def _checked(init: Callable) -> Callable:
    """`init`, with a sentence for a key or a size that is none."""

    @wraps(init)
    def checked(key: Array, input_size: int) -> Params:
        if not hasattr(key, "dtype"):
            raise InputError(f"key must be a PRNG key, as jax.random.key(0), got {shown(key)}.")
        return init(key, check_positive("input_size", input_size))

    return checked


def _of_any_batch(initial_state: Callable) -> Callable:
    """`initial_state`, of a batch shape that may also be a list or the size of the one axis."""

    @wraps(initial_state)
    def of_any_batch(batch_shape: tuple[int, ...] = ()) -> State:
        try:
            sizes = np.atleast_1d(np.asarray(batch_shape, object))
            shape = tuple(n if export.is_symbolic_dim(n) else index(n) for n in sizes)
        except TypeError as error:
            raise InputError(
                f"batch_shape must be a tuple of sizes, () for a single sequence, got"
                f" {shown(batch_shape)}."
            ) from error
        return initial_state(shape)

    return of_any_batch


class TreeCell(NamedTuple):
    """A cell that composes the states of a node's children: a value made of pure functions.

    Built by a factory such as `tree_lstm`, once and outside `jit`, as a `Cell` is. K children stand in
    the axis before the last of every leaf of a state.

    Attributes:
      init: `(key, input_size) -> params`, float32 parameters for inputs `[..., input_size]`.
      leaf: `(params, x) -> state`, a node without children: `x` is `[..., D]`.
      join: `(params, children, present, x) -> state`, a node above its children: leaves of `children`
        are `[..., K, H]`, zeros where `present [..., K]` is False; `x` is `[..., D]`, or None where
        inner nodes have no input.
      read: `(state) -> h`, what others see of a node, `[..., output_size]`.
      output_size: the size of the last axis of h.
      arity: K, the most children that a node may have; 0 for any number.
    """

    init: Callable[[Array, int], Params]
    leaf: Callable[[Params, Array], State]
    join: Callable[[Params, State, Array, Array | None], State]
    read: Callable[[State], Array]
    output_size: int
    arity: int


class Tree(NamedTuple):
    """A tree with a token and a label at any of its N nodes, children before their parents.

    The last node is the root. Arrays are of NumPy.

    Attributes:
      children: `[N, K]` int, the children of each node from left to right, then -1 for none.
      tokens: `[N]` the word of each node or its id; "" or -1 where it has none.
      labels: `[N]` int, the class of each node; -1 where it is not known.
    """

    children: Any
    tokens: Any
    labels: Any


def float32_or_wider(*arrays: Any) -> Any:
    """The type in which long sums of these arrays are taken: float32, float64 if one has it, or complex ones."""
    double = any(a.dtype in (np.float64, np.complex128) for a in arrays)
    if any(a.dtype in (np.complex64, np.complex128) for a in arrays):
        return np.complex128 if double else np.complex64
    return np.float64 if double else np.float32


def check_cell(name: str, cell: Any) -> None:
    """Raises InputError where a wrapper is given something else, as the function that builds a cell."""
    if not isinstance(cell, Cell):
        raise InputError(f"{name} takes a cell, such as lstm(128), got {shown(cell)}.")
