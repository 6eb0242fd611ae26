"""Steps and sequences as bytes that run with JAX alone, on a CPU, a GPU or a TPU."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from seqjax.cells import CELLS
from seqjax.errors import InputError
from seqjax.recurrence.unroll import unroll
from seqjax.types import Array, Cell, Params

PLATFORMS = ("cpu", "cuda", "tpu")
Leaves = tuple[Array, ...]


def export_step(cell: Cell, params: Params, input_size: int) -> bytes:
    """One step of a cell, its parameters within, for any batch size.

    Run it where seqjax is not:

        run = jax.export.deserialize(bytearray(data)).call
        leaves, y = run(leaves, x)  # the leaves of the state, each [B, ...]; x [B, D]

    Args:
      cell: any cell.
      params: its parameters, which become constants.
      input_size: D.
    """
    structure = jax.tree.structure(cell.initial_state((1,)))

    def step(leaves: Leaves, x: Array) -> tuple[Leaves, Array]:
        state, y = cell.step(params, jax.tree.unflatten(structure, leaves), x)
        return tuple(jax.tree.leaves(state)), y

    return _export(step, cell, lambda t, b: jax.ShapeDtypeStruct((b, input_size), jnp.float32))


def export_sequence(cell: Cell, params: Params, input_size: int) -> bytes:
    """A whole sequence, for any batch size and number of steps: `leaves, ys = run(leaves, xs [T, B, D])`.

    Arguments as `export_step`.
    """
    structure = jax.tree.structure(cell.initial_state((1,)))

    def sequence(leaves: Leaves, xs: Array) -> tuple[Leaves, Array]:
        state, ys = unroll(cell, params, xs, jax.tree.unflatten(structure, leaves))
        return tuple(jax.tree.leaves(state)), ys

    return _export(
        sequence, cell, lambda t, b: jax.ShapeDtypeStruct((t, b, input_size), jnp.float32)
    )


def export_token_step(model: Any) -> bytes:
    """One step of a language model: `leaves, logits [B, V] = run(leaves, tokens [B] int32)`.

    Args:
      model: a `LanguageModel`; its parameters become constants.
    """

    class Whole:
        """The model as what `_export` asks a cell for."""

        @staticmethod
        def initial_state(batch_shape: tuple[int, ...]) -> Any:
            return model.initial_state(batch_shape[0])

    structure = jax.tree.structure(model.initial_state(1))

    def step(leaves: Leaves, tokens: Array) -> tuple[Leaves, Array]:
        state, logits = model.step(tokens, jax.tree.unflatten(structure, leaves))
        return tuple(jax.tree.leaves(state)), logits

    return _export(step, Whole, lambda t, b: jax.ShapeDtypeStruct((b,), jnp.int32))


def first_leaves(data: bytes | bytearray, batch_size: int) -> Leaves:
    """Zeros for the leaves of the state that exported bytes take first."""
    shapes = export.deserialize(bytearray(data)).in_avals
    return tuple(
        jnp.zeros([batch_size if not isinstance(n, int) else n for n in aval.shape], aval.dtype)
        for aval in shapes[:-1]
    )


def register_states() -> None:
    """Lets `jax.export` serialise functions whose arguments are states of the cells of `CELLS`.

    Such bytes can be read where seqjax is installed and this was called, too; `export_step` needs neither.
    """
    for factory in CELLS.values():
        state = type(factory(2).initial_state(()))
        if state not in _registered:
            export.register_namedtuple_serialization(
                state, serialized_name=f"seqjax.{state.__module__}.{state.__name__}"
            )
            _registered.add(state)


_registered: set[type] = set()


def _export(function: Callable, cell: Any, input_of: Callable[[Any, Any], Any]) -> bytes:
    """The function of leaves and an input, serialised; `input_of(T, B)` is the input's shape."""
    steps, batch = export.symbolic_shape("T, B")
    state = jax.tree.leaves(jax.eval_shape(lambda: cell.initial_state((2,))))
    if any(leaf.shape[:1] != (2,) for leaf in state):
        raise InputError("every leaf of the state must begin with the batch axis to be exported.")
    leaves = tuple(jax.ShapeDtypeStruct((batch, *leaf.shape[1:]), leaf.dtype) for leaf in state)
    exported = export.export(jax.jit(function), platforms=PLATFORMS)
    return bytes(exported(leaves, input_of(steps, batch)).serialize())
