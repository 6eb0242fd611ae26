"""What `scan` takes: arguments made arrays, counted, and traced; the rest refused in a sentence."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from seqjax.errors import InputError
from seqjax.fast_scan.jaxprs import ClosedJaxpr, is_known, is_weak, shown, side_effects, struct
from seqjax.types import Array, Params, State

Step = Callable[[Params, State, Any], tuple[State, Any]]


def as_array(a: Any) -> Array:
    return a if isinstance(a, jax.Array) else jnp.asarray(a)  # (a PRNG key is one already)


def first(a: Array) -> jax.ShapeDtypeStruct:
    """What one step sees of an input of all."""
    return jax.ShapeDtypeStruct(a.shape[1:], a.dtype)


def split_arrays(params: Params) -> tuple[list[Array], Callable[[list[Array]], Params]]:
    """The arrays among the leaves, and the function that puts them beside the others again.

    Others are what a module holds beside its parameters: functions, names.
    """
    leaves, tree = jax.tree.flatten(params)
    places = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

    def join(arrays: list[Array]) -> Params:
        merged = dict(enumerate(leaves)) | dict(zip(places, arrays, strict=True))
        return jax.tree.unflatten(tree, list(merged.values()))

    return [as_array(leaves[i]) for i in places], join


def _is_array(leaf: Any) -> bool:
    numbers = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)
    return isinstance(leaf, numbers) or hasattr(leaf, "__jax_array__")


def count_steps(xs: Any, length: int | None) -> int:
    """T, the one length of all leaves of xs, which are arrays. A symbolic one stays symbolic."""
    lengths = {jax.tree_util.keystr(k): a.shape[:1] for k, a in jax.tree.leaves_with_path(xs)}
    scalars = [name for name, n in lengths.items() if not n]
    if scalars:
        raise InputError(f"every leaf of xs needs a leading time axis; xs{scalars[0]} has none.")
    counts = {name: n[0] for name, n in lengths.items()}
    if length is not None:
        counts["length"] = length
    if not counts:
        raise InputError("scan needs xs with at least one leaf, or length.")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{'xs' if k != 'length' else ''}{k}: {n}" for k, n in counts.items())
        raise InputError(
            f"the leaves of xs (and length) must have one number of steps, got {listed}."
        )
    num_steps = next(iter(counts.values()))
    if is_known(num_steps) and num_steps < 1:
        raise InputError(f"scan needs at least one time step, got {num_steps}.")
    return num_steps


def refuse_side_effects(closed: ClosedJaxpr) -> None:
    if effects := side_effects(closed):
        raise InputError(
            f"the step has side effects ({', '.join(effects)}), which a scan that reorders work"
            " cannot keep: take them out of the step, or give forward_mode=True, which is the"
            " plain lax.scan and keeps them."
        )


def trace_step(step: Step, params: Params, state: State, x: Any) -> tuple[ClosedJaxpr, State, Any]:
    """The step as a jaxpr on flat inputs, the state it takes, and the tree of y.

    As with `lax.scan`, a state of Python's numbers takes the dtype that the step makes of it.
    Refuses what cannot be scanned.
    """
    trees: list[Any] = []

    def flat_step(params: Params, state: State, x: Any) -> list[Any]:
        result = step(params, state, x)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise InputError(f"a step returns the pair (state, y), got {type(result).__name__}.")
        trees[:] = jax.tree.structure(result[0]), jax.tree.structure(result[1])
        return jax.tree.leaves(result)

    closed = jax.make_jaxpr(flat_step)(params, state, x)
    state_tree, y_tree = trees
    if state_tree != jax.tree.structure(state):
        raise InputError(
            f"the step changes the structure of the state from {jax.tree.structure(state)} to"
            f" {state_tree}: return what was given."
        )
    leaves = jax.tree.leaves(state)
    given = closed.jaxpr.invars[len(jax.tree.leaves(params)) :]
    weak = [is_weak(v) for v, _ in zip(given, leaves, strict=False)]
    dtypes = [struct(v).dtype for v, _ in zip(closed.jaxpr.outvars, leaves, strict=False)]
    if any(w and a.dtype != dtype for a, w, dtype in zip(leaves, weak, dtypes, strict=True)):
        promoted = [
            lax.convert_element_type(a, jnp.result_type(a, dtype)) if w else a
            for a, w, dtype in zip(leaves, weak, dtypes, strict=True)
        ]
        return trace_step(step, params, jax.tree.unflatten(state_tree, promoted), x)
    paths = [path for path, _ in jax.tree.leaves_with_path(state)]
    for path, old, new in zip(paths, given, closed.jaxpr.outvars, strict=False):
        if (struct(old).shape, struct(old).dtype) != (struct(new).shape, struct(new).dtype):
            raise InputError(
                f"the step changes the state's leaf state{jax.tree_util.keystr(path)} from"
                f" {shown(old, short=False)} to {shown(new, short=False)}: start from, or cast back"
                " to, the same shape and dtype."
            )
    return closed, state, y_tree
