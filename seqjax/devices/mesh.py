"""The batch over devices: GPUs, TPU cores, or the cores of a CPU; of one process, or of several.

Parameters are copied to every device, batches and carried states are split. `jax.jit` does the
rest: the one product that makes a weight gradient sums over devices, once per update. Results equal
those of one device up to the order of that sum. `over_batch` is for a layer whose devices should wait
for one another less often.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.devices.processes import several
from seqjax.errors import InputError, check_positive
from seqjax.types import Array, Params, State

AXIS = "batch"
Layer = Callable[..., tuple[State, Array]]  # (params, state, xs, *others) -> (state, ys)
MOST_DEVICES = 256  # JAX makes threads and memory for as many as it is told


def use_cpu_devices(count: int) -> None:
    """Lets JAX see `count` CPU devices, at most 256; call it before anything is computed."""
    check_positive("devices", count, at_most=MOST_DEVICES)
    if count > 1:
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError as error:
            raise InputError(
                f"devices={count}: JAX has started already; ask for devices before anything is computed."
            ) from error


def batch_mesh(count: int) -> Mesh:
    """A mesh of the first `count` devices of this process; of several (see `processes`), of each.

    Raises:
      InputError: if there are fewer.
    """
    check_positive("devices", count, at_most=MOST_DEVICES)
    devices = jax.local_devices()
    if len(devices) < count:
        raise InputError(
            f"devices={count}, but this machine shows {len(devices)}"
            f" {devices[0].platform} device(s)."
        )
    if several():
        of_each = [jax.local_devices(process_index=i)[:count] for i in range(jax.process_count())]
        if any(len(found) < count for found in of_each):
            raise InputError(f"devices={count}, but one of the processes shows fewer.")
        devices = [device for found in of_each for device in found]
    else:
        devices = devices[:count]
    return jax.make_mesh((len(devices),), (AXIS,), devices=devices, axis_types=(AxisType.Auto,))


def split_batch(tree: Any, mesh: Mesh, axis: int) -> Any:
    """Places every leaf with its `axis`, the batch, split over the mesh.

    Raises:
      InputError: if the batch does not divide.
    """
    _check_batch(tree, mesh, axis)
    spec = PartitionSpec(*[None] * axis, AXIS)
    return jax.device_put(tree, NamedSharding(mesh, spec))


def _check_batch(tree: Any, mesh: Mesh, axis: int) -> None:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    if any(len(shape) <= axis for shape in shapes):
        raise InputError(
            f"axis {axis} of every array is the batch, got the shapes {shapes}: give each row its"
            " own entry."
        )
    sizes = {shape[axis] for shape in shapes}
    if any(size % mesh.size for size in sizes):
        raise InputError(
            f"a batch of {sorted(sizes)} cannot be split over {mesh.size} devices: make it a"
            " multiple."
        )


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Places a copy of every leaf on each device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def over_devices(batch: Any, mesh: Mesh) -> Any:
    """The arrays of a batch `[B, ...]` inside `jax.jit`, each row on the device whose share it is."""
    if mesh.size == 1:
        return batch
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec(AXIS)))


def over_batch(layer: Layer, mesh: Mesh) -> Layer:
    """The layer as a program of each device's own, for its share of the batch.

    Where time is cut into blocks (see `seqjax.scan`), the parts that `jax.jit` makes of one program
    add up weight gradients over devices after every block; these do once, at the end, and size
    their blocks by what one device holds.

        layer = over_batch(lambda params, state, xs: unroll(cell, params, xs, state), mesh)
        state, ys = layer(params, state, xs)

    What there is of each row beside, its length say, follows xs:

        layer = over_batch(lambda p, s, xs, n: unroll(cell, p, xs, s, lengths=n), mesh)
        state, ys = layer(params, state, xs, lengths)

    A key that the layer closes over is the same on every device, and so are the masks that it draws, for rows
    of other devices: `jax.random.fold_in(key, jax.lax.axis_index(AXIS))` in the layer gives each its own.

    Args:
      layer: `(params, state, xs [T, B, ...], *others) -> (state, ys [T, B, ...])`, states and others
        `[B, ...]`, whose rows do not depend on one another.
      mesh: from `batch_mesh`.

    Raises:
      InputError: when the layer is called, if an argument has no axis for the batch, or B does not
        divide by the mesh's size.
    """
    rows, steps = PartitionSpec(AXIS), PartitionSpec(None, AXIS)

    @jax.jit  # the rules for derivatives know nothing of devices outside of a program
    def run(params: Params, state: State, xs: Array, *others: Any) -> tuple[State, Array]:
        own = jax.shard_map(
            layer,
            mesh=mesh,
            in_specs=(PartitionSpec(), rows, steps, *[rows] * len(others)),
            out_specs=(rows, steps),
            check_vma=False,  # the loops carry sums that start from zeros, the same on every device
        )
        return own(params, state, xs, *others)

    def checked(params: Params, state: State, xs: Array, *others: Any) -> tuple[State, Array]:
        _check_batch(xs, mesh, 1)
        _check_batch((state, others), mesh, 0)
        return run(params, state, xs, *others)

    return checked
