"""Running a cell over trees: back-propagation through structure, for a batch of trees at once.

The nodes of all trees stand in one buffer, the leaves first. Leaves are evaluated in one call, inner
nodes in waves of at most W nodes whose children are done. A wave gathers its children from the buffer
and writes its own states in one piece, so that the number of compiled programs depends on the sizes of
the arrays alone, never on the shapes of the trees.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from seqjax.errors import InputError, check_positive, shown
from seqjax.fast_scan.scan import scan
from seqjax.types import Array, Params, State, TreeCell

GRAIN = 4  # sizes are rounded up to so many steps between powers of 2: at most a quarter is padding


class Schedule(NamedTuple):
    """Where the nodes of a batch of trees stand in the buffer, and in which order they are evaluated.

    The buffer has L + S·W slots: L for leaves, then W for each of S waves.

    Attributes:
      children: `[S, W, K]` int32, the slots of the children of each inner node.
      present: `[S, W, K]` bool, which of the children there are.
      live: `[L + S·W]` bool, which slots hold a node; the others are padding.
      parents: `[L + S·W, 2]` int32, of each slot the number of its parent among the inner slots, and which
        child of it it is; -1 for roots and padding.
    """

    children: Any
    present: Any
    live: Any
    parents: Any


class Placed(NamedTuple):
    """A schedule, and where in it each node is."""

    schedule: Schedule  # of NumPy arrays
    slots: np.ndarray  # [number of all nodes] int32, tree after tree, nodes in their own order
    roots: np.ndarray  # [B] int32, the slot of the last node of each tree


def schedule(
    trees: Sequence[np.ndarray],
    *,
    width: int,
    arity: int = 2,
    leaves: int = 0,
    waves: int = 0,
) -> Placed:
    """Plans the evaluation of a batch of trees; host work, in NumPy.

    Each wave takes those nodes whose children are done that have the longest way to their root: for
    trees, no order needs fewer waves (Hu, 1961).

    Args:
      trees: of each tree the children of its nodes `[N, any K]`, children before parents, -1 for none,
        the root last, as `Tree.children`.
      width: W, the most nodes of a wave.
      arity: K, the most children of a node; 0 for as many as there are.
      leaves: L at least this many.
      waves: S at least this many.

    Returns:
      The schedule, its sizes rounded up so that few programs are compiled, and the slot of each node.

    Raises:
      InputError: if there is no tree, or one is none, or a node has more children than the arity.
    """
    check_positive("width", width)
    children, ends = _joined(trees, arity)
    is_leaf = children[:, 0] < 0
    parents = _parents(children)
    order = _waves(parents, _depths(parents), is_leaf, width)

    num_leaves = max(leaves, rounded_up(int(is_leaf.sum())))
    num_waves = max(1, waves, rounded_up(len(order)))
    slots = np.zeros(len(children), np.int32)
    slots[is_leaf] = np.arange(is_leaf.sum())
    # A slot of padding computes something harmless, a node above the first leaf.
    size = children.shape[1]
    placed = np.zeros((num_waves, width, size), np.int32)
    present = np.zeros((num_waves, width, size), bool)
    present[..., : max(arity, 1)] = True
    live = np.zeros(num_leaves + num_waves * width, bool)
    for wave, nodes in enumerate(order):
        slots[nodes] = num_leaves + wave * width + np.arange(len(nodes))
        there = children[nodes] >= 0
        placed[wave, : len(nodes)] = np.where(there, slots[children[nodes]], 0)
        present[wave, : len(nodes)] = there
    live[slots] = True
    above = np.full((len(live), 2), -1, np.int32)
    nodes, which = np.nonzero(children >= 0)
    above[slots[children[nodes, which]]] = np.stack([slots[nodes] - num_leaves, which], axis=1)
    return Placed(Schedule(placed, present, live, above), slots, slots[ends])


def compose(cell: TreeCell, params: Params, inputs: Array, schedule: Schedule) -> State:
    """The states of all nodes of a batch of trees.

    What stands in the padding of `inputs`, NaN included, changes neither values nor gradients.

    Args:
      cell: the cell.
      params: from `cell.init`.
      inputs: `[L, D]`, of leaves alone; or `[L + S·W, D]`, of every node, zeros for nodes without one.
      schedule: from `schedule`.

    Returns:
      The buffer: a state with leaves `[L + S·W, H]`. `cell.read` gives the outputs of nodes. Slots of
      padding hold finite values without meaning.

    Raises:
      InputError: if the inputs are of another size, or the schedule is of a cell for more or fewer children.
    """
    if isinstance(schedule, Placed):
        raise InputError("compose takes the schedule of what was planned: write placed.schedule.")
    num_waves, width, arity = schedule.children.shape
    if cell.arity and cell.arity != arity:
        raise InputError(
            f"this cell joins {cell.arity} children, and the schedule has room for {arity}: plan it with"
            f" arity={cell.arity}."
        )
    num_inner = num_waves * width
    num_leaves = schedule.live.shape[0] - num_inner
    if inputs.ndim != 2 or inputs.shape[0] not in (num_leaves, num_leaves + num_inner):
        raise InputError(
            f"compose takes inputs [{num_leaves}, D] of leaves, or [{num_leaves + num_inner}, D] of all"
            f" slots of the schedule, got an array of shape {inputs.shape}."
        )
    # Cleaned before the step, not after it: a NaN would still reach the gradient, as 0 · NaN.
    live = schedule.live[: inputs.shape[0], None]
    inputs = jnp.where(live, inputs, lax.stop_gradient(inputs[:1]))
    row, which = schedule.parents[:, 0], schedule.parents[:, 1]
    readings = jnp.where(row < 0, num_inner * arity, row * arity + which)
    leaves = cell.leaf(params, inputs[:num_leaves])
    dtype = jnp.result_type(inputs, *jax.tree.leaves(params))  # in which a node's state will be
    leaves = jax.tree.map(lambda a: a.astype(dtype), leaves)
    buffer = _begun(leaves, num_inner, arity, readings[:num_leaves])
    own = inputs[num_leaves:]
    inner = (num_waves, width)
    xs = own.reshape(*inner, -1) if len(own) else None
    waves = (schedule.children, readings[num_leaves:].reshape(inner), jnp.arange(num_waves) * width)

    def wave(params: Params, buffer: _Buffer, step: tuple) -> tuple[_Buffer, tuple]:
        (children, readings, first), present, x = step
        below, buffer = _taken(buffer, children, first * arity)
        below = jax.tree.map(lambda a: jnp.where(present[..., None], a, 0), below)
        states = cell.join(params, below, present, x)
        return _written(buffer, states, num_leaves + first, readings), ()

    return scan(wave, params, buffer, (waves, schedule.present, xs))[0].states


class _Buffer(NamedTuple):
    """The states of all slots, and room for the gradients of what is read of them.

    Every node is read once, by its parent. Derived by the rules, the gradient of such a reading is a buffer
    of zeros with some rows, which is added to that of the others: for each wave, all of memory. Here each
    wave writes the gradients of what it has read in one piece into `readings`, and the wave of the children
    takes its own from there. In the forward pass `readings` holds zeros and is never touched.
    """

    states: State  # leaves [L + S·W, H]
    readings: State  # leaves [S·W·K, H]


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _begun(leaves: State, num_inner: int, arity: int, readings: Array) -> _Buffer:
    """The buffer with the leaves' states; `readings [L]` says where the gradient of each will stand."""
    del readings
    states = jax.tree.map(lambda a: jnp.pad(a, [(0, num_inner), (0, 0)]), leaves)
    rows = num_inner * arity
    return _Buffer(states, jax.tree.map(lambda a: jnp.zeros((rows, a.shape[1]), a.dtype), leaves))


def _begun_forward(
    leaves: State, num_inner: int, arity: int, readings: Array
) -> tuple[_Buffer, Array]:
    return _begun(leaves, num_inner, arity, readings), readings


def _begun_backward(
    num_inner: int, arity: int, readings: Array, gradient: _Buffer
) -> tuple[State, None]:
    del num_inner, arity
    return _gradients(gradient, jnp.zeros((), jnp.int32), readings), None


_begun.defvjp(_begun_forward, _begun_backward)


@jax.custom_vjp
def _taken(buffer: _Buffer, slots: Array, first: Array) -> tuple[State, _Buffer]:
    """The states of some slots `[W, K]`, whose gradients will stand in the readings from `first` on."""
    del first
    return jax.tree.map(lambda a: a[slots], buffer.states), buffer


def _taken_forward(buffer: _Buffer, slots: Array, first: Array) -> tuple[tuple, Array]:
    return _taken(buffer, slots, first), first


def _taken_backward(first: Array, gradients: tuple[State, _Buffer]) -> tuple[_Buffer, None, None]:
    taken, buffer = gradients
    rows = jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]), taken)
    return _Buffer(buffer.states, _replaced(buffer.readings, rows, first)), None, None


_taken.defvjp(_taken_forward, _taken_backward)


@jax.custom_vjp
def _written(buffer: _Buffer, states: State, first: Array, readings: Array) -> _Buffer:
    """The buffer with a wave's states from slot `first` on.

    What stood there, zeros, depends on nothing, so that its gradient need not be cleared.
    """
    del readings
    return _Buffer(_replaced(buffer.states, states, first), buffer.readings)


def _written_forward(
    buffer: _Buffer, states: State, first: Array, readings: Array
) -> tuple[_Buffer, tuple[Array, Array]]:
    return _written(buffer, states, first, readings), (first, readings)


def _written_backward(
    residuals: tuple[Array, Array], gradient: _Buffer
) -> tuple[_Buffer, State, None, None]:
    return gradient, _gradients(gradient, *residuals), None, None


_written.defvjp(_written_forward, _written_backward)


def _replaced(whole: State, part: State, first: Array) -> State:
    return jax.tree.map(
        lambda a, rows: lax.dynamic_update_slice_in_dim(a, rows, first, 0), whole, part
    )


def _gradients(gradient: _Buffer, first: Array, readings: Array) -> State:
    """Of the states from slot `first` on: those from outside, and those of their parents' readings."""
    return jax.tree.map(
        lambda outside, read: (
            lax.dynamic_slice_in_dim(outside, first, readings.shape[0])
            + read.at[readings].get(mode="fill", fill_value=0)
        ),
        gradient.states,
        gradient.readings,
    )


def rounded_up(size: int) -> int:
    """The size, or one up to a quarter larger: only few numbers are such sizes."""
    step = 1 << max(0, (size - 1).bit_length() - GRAIN.bit_length())
    return -(-size // step) * step


def _joined(trees: Sequence[np.ndarray], arity: int) -> tuple[np.ndarray, np.ndarray]:
    """The children of all nodes in one numbering `[N, K]`, and the number of each tree's root."""
    if not len(trees):
        raise InputError("schedule needs at least one tree, got none.")
    trees = [_checked(_as_array(tree), number) for number, tree in enumerate(trees)]
    counts = [len(tree) for tree in trees]
    ends = np.cumsum(counts) - 1
    most = max(int((tree >= 0).sum(1).max()) for tree in trees)
    if arity and most > arity:
        raise InputError(
            f"a node has {most} children, and this cell joins {arity}: binarise the trees, or take a"
            " cell for any number of children."
        )
    size = arity or max(1, most)
    joined = np.full((sum(counts), size), -1, np.int64)
    for tree, end in zip(trees, ends, strict=True):
        used = tree[:, :size]
        start = end + 1 - len(tree)
        joined[start : end + 1, : used.shape[1]] = np.where(used < 0, -1, used + start)
    return joined, ends


def _as_array(tree: Any) -> np.ndarray:
    try:
        return np.asarray(tree)
    except ValueError:  # rows of several lengths
        return np.asarray(None)


def _checked(tree: np.ndarray, number: int) -> np.ndarray:
    if tree.ndim != 2 or not tree.size or tree.dtype.kind not in "iu":
        raise InputError(
            f"a tree is integers [N, K], the children of each node, got {tree.dtype} of shape"
            f" {tree.shape} for tree {number}."
        )
    there = tree >= 0
    own = np.arange(len(tree))[:, None]
    used = np.bincount(tree[there], minlength=len(tree))
    right = np.all(there[:, 1:] <= there[:, :-1]) and np.all(tree < own) and np.all(used[:-1] == 1)
    if not right:
        raise InputError(
            f"tree {number} is none: children stand before their parents and from left to right, -1"
            f" after them, and every node but the last is one child; got {shown(tree.tolist())}."
        )
    return tree


def _parents(children: np.ndarray) -> np.ndarray:
    """The parent of each node `[N]`; -1 for a root."""
    parents = np.full(len(children), -1)
    nodes, places = np.nonzero(children >= 0)
    parents[children[nodes, places]] = nodes
    return parents


def _depths(parents: np.ndarray) -> np.ndarray:
    """How far each node is from its root, by pointer jumping: log₂ of the height passes."""
    up = np.where(parents < 0, np.arange(len(parents)), parents)
    depths = (parents >= 0).astype(np.int64)
    while np.any(depths[up]):
        depths = depths + depths[up]
        up = up[up]
    return depths


def _waves(
    parents: np.ndarray, depths: np.ndarray, is_leaf: np.ndarray, width: int
) -> list[np.ndarray]:
    """The inner nodes of each wave."""
    waiting = np.bincount(parents[parents >= 0], minlength=len(parents))
    np.subtract.at(waiting, parents[is_leaf & (parents >= 0)], 1)
    ready = np.flatnonzero(~is_leaf & (waiting == 0))
    order = []
    while len(ready):
        ready = ready[np.argsort(-depths[ready], kind="stable")]
        chosen, ready = ready[:width], ready[width:]
        order.append(chosen)
        above = parents[chosen]
        above = above[above >= 0]
        np.subtract.at(waiting, above, 1)
        above = np.unique(above)
        ready = np.concatenate([ready, above[waiting[above] == 0]])
    return order
