"""Running a cell over time. Everything about time lives here, and nowhere else.

Sequences are time-major, `[T, ..., D]`, as in `lax.scan`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from seqjax.errors import InputError, check_positive, shown
from seqjax.fast_scan.door import as_array, split_arrays
from seqjax.fast_scan.scan import scan
from seqjax.recurrence.misfit import says_what_does_not_fit
from seqjax.types import Array, Cell, Params, State


@says_what_does_not_fit
def unroll(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    lengths: Array | None = None,
    reverse: bool = False,
    keep: str = "gates",
    block: int | None = None,
    forward_mode: bool = False,
    parallel: str = "auto",
    key: Array | None = None,
) -> tuple[State, Array]:
    """Runs `cell` over a sequence: one compiled `seqjax.scan`.

    `unroll_loop` below is the definition. With `lengths`, a row's state freezes after its last
    step, its outputs past it are zeros, and whatever stands in its padding, NaN included,
    changes neither values nor gradients; a row of length 0 keeps its initial state. Reversed,
    a row starts at its own last step.

    Args:
      cell: the cell.
      params: from `cell.init`.
      xs: inputs `[T, ..., D]`, any number of batch axes.
      state: the state before the first step; `cell.initial_state` if None.
      lengths: integers `[...]`, the number of valid steps of each row, or None for all T; what lies outside of
        0 to T counts as the nearest of these.
      reverse: run from the last step to the first; `ys[t]` still belongs to `xs[t]`.
      keep: what is kept for the gradient, "gates", "products" or "blocks"; see `seqjax.scan`.
      block: steps per block; see `seqjax.scan`.
      forward_mode: allow `jax.jvp` and `jax.jacfwd`, by the plain `lax.scan`.
      parallel: "auto", "never", "associative", "newton" or "damped"; see `seqjax.scan`.
      key: a PRNG key for the cell's noise, where it has any; None for evaluation, without noise.

    Returns:
      `(final_state, ys)`, always: the state after the last valid step, and outputs
      `[T, ..., output_size]`.

    Raises:
      InputError: if there is no time axis, no time step, or `lengths` does not fit.
    """
    xs = as_array(xs)
    state, live = _prepare(cell, params, xs, state, lengths)
    filling = _filling(xs, live)
    masks, masks_of_steps = draw_masks(cell, key, xs.shape)

    def step(params: tuple, state: State, inputs: tuple) -> tuple[State, Array]:
        (params, masks), (x, live_t, masks_t) = params, inputs
        noisy = cell if key is None else with_masks(cell, masks, masks_t)
        return _masked_step(noisy, params, state, x, live_t, filling)

    return scan(
        step,
        (params, masks),
        state,
        (xs, live, masks_of_steps),
        reverse=reverse,
        keep=keep,
        block=block,
        forward_mode=forward_mode,
        parallel=parallel,
        batch_axes=xs.ndim - 2,
    )


@says_what_does_not_fit
def unroll_loop(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    lengths: Array | None = None,
    reverse: bool = False,
    key: Array | None = None,
) -> tuple[State, Array]:
    """The definition of `unroll`, as a Python loop: for reading, debugging and tests."""
    xs = as_array(xs)
    state, live = _prepare(cell, params, xs, state, lengths)
    filling = _filling(xs, live)
    masks, masks_of_steps = draw_masks(cell, key, xs.shape)
    ys: dict[int, Array] = {}
    steps = range(len(xs))
    for t in reversed(steps) if reverse else steps:
        live_t = None if live is None else live[t]
        masks_t = jax.tree.map(lambda mask, t=t: mask[t], masks_of_steps)
        noisy = cell if key is None else with_masks(cell, masks, masks_t)
        state, ys[t] = _masked_step(noisy, params, state, xs[t], live_t, filling)
    return state, jnp.stack([ys[t] for t in steps])


@says_what_does_not_fit
def unroll_truncated(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    chunk_length: int,
    lengths: Array | None = None,
) -> tuple[State, Array]:
    """Truncated back-propagation through time: `unroll` with the gradient cut between chunks.

    Values equal `unroll`'s. Each chunk of `chunk_length` steps starts from the state that the
    one before carried to it, and no gradient flows back through that state; the first chunk
    passes its gradient on to `state`, as `unroll` does.

    Raises:
      InputError: as `unroll`, and if chunk_length is not a positive integer.
    """
    check_positive("chunk_length", chunk_length)
    xs = as_array(xs)
    state, live = _prepare(cell, params, xs, state, lengths)
    filling = _filling(xs, live)
    t = jnp.arange(xs.shape[0])
    cut = (t % chunk_length == 0) & (t > 0)

    def step(params: Params, state: State, inputs: tuple) -> tuple[State, Array]:
        x, live_t, cut_t = inputs
        state = _where(cut_t, lax.stop_gradient(state), state)
        return _masked_step(cell, params, state, x, live_t, filling)

    return scan(step, params, state, (xs, live, cut))


def draw_masks(cell: Cell, key: Array | None, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The cell's noise for a sequence `[T, ..., D]` of that shape: masks of all steps, and `[T, ...]` of each."""
    noise = cell.noise
    if key is None or noise is None:
        return (), ()
    if not isinstance(key, jax.Array | np.ndarray):
        raise InputError(f"key must be a PRNG key, as jax.random.key(0), got {shown(key)}.")
    num_steps, *batch_shape, input_size = shape
    sequence_key, steps_key = jax.random.split(key)
    sizes = tuple(batch_shape), input_size
    step_keys = jax.random.split(steps_key, num_steps)
    per_step = jax.vmap(lambda step_key: noise.per_step(step_key, *sizes))(step_keys)
    return noise.per_sequence(sequence_key, *sizes), per_step


def with_masks(cell: Cell, masks: Any, masks_t: Any) -> Cell:
    """The cell in training, its masks drawn; itself where it has no noise."""
    if cell.noise is None:
        return cell
    noisy = cell.noise.step
    return cell._replace(step=lambda params, *inputs: noisy(params, (masks, masks_t), *inputs))


def _prepare(
    cell: Cell, params: Params, xs: Array, state: State | None, lengths: Array | None
) -> tuple[State, Array | None]:
    """Checks the arguments; returns the first state and which steps are live `[T, ...]`."""
    if xs.ndim < 2:
        raise InputError(
            f"unroll takes a sequence [T, ..., D], got an array of shape {xs.shape}."
            " A sequence of scalars is xs[:, None]."
        )
    num_steps, *batch_shape = xs.shape[:-1]
    if num_steps == 0:
        raise InputError(f"unroll needs at least one time step, got xs of shape {xs.shape}.")
    if state is None:
        # The state is kept in the precision of the computation, whatever the cell starts from.
        real = [x for x in (xs, *split_arrays(params)[0]) if jnp.issubdtype(x.dtype, jnp.floating)]
        state = cell.initial_state(tuple(batch_shape))
        if real:
            dtype = jnp.result_type(*real)
            state = jax.tree.map(
                lambda s: s.astype(dtype) if jnp.issubdtype(s.dtype, jnp.floating) else s, state
            )
    if lengths is None:
        return state, None
    lengths = jnp.asarray(lengths)
    if lengths.shape != tuple(batch_shape) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise InputError(
            f"lengths must be integers of shape {tuple(batch_shape)}, one for each row of xs"
            f" {xs.shape}, which is time-major, [T, B, D], got {lengths.dtype} of shape"
            f" {lengths.shape}."
        )
    state = jax.tree.map(as_array, state)
    for path, leaf in jax.tree.leaves_with_path(state):
        if leaf.shape[: lengths.ndim] != lengths.shape:
            raise InputError(
                f"with lengths, each row's state stops at its own last step, so every leaf of the"
                f" state begins with the batch axes {lengths.shape}; state"
                f"{jax.tree_util.keystr(path)} has shape {leaf.shape}: give it one entry per row."
            )
    t = jnp.arange(num_steps).reshape(-1, *[1] * lengths.ndim)
    return state, t < lengths


def _filling(xs: Array, live: Array | None) -> Array | None:
    """What stands for a row's padding `[..., D]`: its own last input, which the cell reads anyhow.

    The step's results there are dropped, but its derivative is not: it is multiplied by zero, and a
    step may have none at an input of zeros (`x / norm(x)`, a layer norm without epsilon), or where time
    runs backward (inputs that tell the time, a state that keeps it). A row of length 0 has no input of its
    own; it gets values between 0 and 1, no two of them equal.
    """
    if live is None:
        return None
    if jnp.issubdtype(xs.dtype, jnp.inexact):
        size = xs.shape[-1]
        harmless = jnp.arange(1, size + 1, dtype=jnp.float32) / (size + 1)
    else:
        harmless = jnp.zeros(())  # a class that there is
    harmless = jnp.broadcast_to(harmless.astype(xs.dtype), xs.shape[1:])
    last = jnp.maximum(live.sum(0) - 1, 0)
    at = jnp.expand_dims(last, (0, *range(last.ndim + 1, xs.ndim)))
    own = jnp.take_along_axis(xs, at, axis=0)[0]
    return lax.stop_gradient(_where(live[0], own, harmless))


def _masked_step(
    cell: Cell,
    params: Params,
    state: State,
    x: Array,
    live: Array | None,
    filling: Array | None,
) -> tuple[State, Array]:
    """One step that leaves dead rows as they are. `live` is `[...]`, or None for all alive."""
    if live is None:
        return cell.step(params, state, x)
    # The padding is replaced before the step: cleaned only after it, a NaN would still reach
    # the gradient, as 0 · NaN.
    new_state, y = cell.step(params, state, _where(live, x, filling))
    return _where(live, new_state, state), _where(live, y, jax.tree.map(jnp.zeros_like, y))


def _where(condition: Array, new: Any, old: Any) -> Any:
    """`jnp.where` on every leaf; `condition` `[...]` covers the leaves' leading axes."""

    def select(a: Array, b: Array) -> Array:
        axes = tuple(range(condition.ndim, a.ndim))
        return jnp.where(jnp.expand_dims(condition, axes), a, b)

    return jax.tree.map(select, new, old)
