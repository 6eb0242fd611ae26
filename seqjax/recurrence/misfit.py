"""What does not fit, in a sentence, where a cell, its parameters, a state and inputs do not go together.

Looked at only when something has failed: what fits pays nothing.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.errors import InputError, shown
from seqjax.types import Cell

FAILURES = (TypeError, ValueError, AttributeError, KeyError, IndexError)


def says_what_does_not_fit(function: Callable) -> Callable:
    """Makes `function(cell, params, xs, state=None, ...)` raise InputError for what it can explain."""

    @wraps(function)
    def saying(cell: Any, params: Any, xs: Any, state: Any = None, **options: Any) -> Any:
        try:
            return function(cell, params, xs, state, **options)
        except InputError:
            raise
        except FAILURES as error:
            misfit = misfit_of(cell, params, jnp.shape(xs), state)
            if not misfit:
                raise
            raise InputError(misfit) from error

    return saying


def misfit_of(cell: Any, params: Any, shape: tuple[int, ...], state: Any) -> str:
    """What does not fit of a cell, parameters, inputs of a shape `[T, ..., D]` and a state; "" if nothing is seen."""
    if not isinstance(cell, Cell):
        return _no_cell(cell)
    try:
        wanted = jax.eval_shape(lambda: cell.init(jax.random.key(0), shape[-1]))
        first = jax.eval_shape(lambda: cell.initial_state(shape[1:-1]))
    except FAILURES:
        return ""
    xs = f"xs [T, ..., D] of shape {shape}"
    if _names(params) != _names(wanted):
        return (
            f"params are of another cell: it has {_said(wanted)}, they have {_said(params)}. Take those"
            " of its own init."
        )
    if other := _other_shape(params, wanted):
        name, have, want = other
        return (
            f"params{name} has shape {have}; for {xs} this cell needs {want}: its init takes the number of"
            f" features, {shape[-1]}, and sequences are time-major, [T, B, D]."
        )
    if state is None:
        return ""
    if _names(state) != _names(first) or type(state) is not type(first):
        return (
            f"state is {_kind(state)}, this cell's is {_kind(first)}: take"
            f" cell.initial_state({shape[1:-1]})."
        )
    if other := _other_shape(state, first):
        name, have, want = other
        return (
            f"state{name} has shape {have}, but {want} goes with {xs}: take"
            f" cell.initial_state({shape[1:-1]})."
        )
    return ""


def _other_shape(tree: Any, wanted: Any) -> tuple[str, tuple, tuple] | None:
    """The first leaf whose shape is not the wanted one: its name, its shape, and the wanted one."""
    pairs = zip(jax.tree.leaves_with_path(tree), jax.tree.leaves(wanted), strict=True)
    for (path, have), want in pairs:
        if jnp.shape(have) != want.shape:
            return jax.tree_util.keystr(path), jnp.shape(have), want.shape
    return None


def _no_cell(cell: Any) -> str:
    if isinstance(cell, str):
        return (
            f"cell must be a seqjax.Cell, got the name {cell!r}: write seqjax.CELLS[{cell!r}](64)."
        )
    name = getattr(cell, "__name__", "")
    if name and callable(cell):
        return f"cell must be a seqjax.Cell, got {name} itself: call it, as in {name}(64)."
    kind = type(cell)
    if "flax" in kind.__module__ or any("flax" in base.__module__ for base in kind.__mro__):
        return (
            f"cell must be a seqjax.Cell, got the Flax module {kind.__name__}: seqjax.interop.flax makes"
            " a cell of it."
        )
    return f"cell must be a seqjax.Cell, as seqjax.lstm(64) is, got {shown(cell)}."


def _names(tree: Any) -> list[str]:
    return sorted(jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree))


def _said(tree: Any) -> str:
    return ", ".join(name.lstrip(".") for name in _names(tree)[:6]) or "nothing"


def _kind(state: Any) -> str:
    fields = ", ".join(getattr(state, "_fields", ()))
    return f"{type(state).__name__}({fields})" if fields else type(state).__name__
