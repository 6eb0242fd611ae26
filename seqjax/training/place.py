"""A run's state and data on the devices that share its batch."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.data.batches import Rows
from seqjax.data.shards import Piece, Windows
from seqjax.devices.mesh import AXIS, replicate, split_batch
from seqjax.training.step import Carried, TrainState


def place_training(mesh: Mesh, state: TrainState, rows: Any) -> tuple[TrainState, Any]:
    """Places a train state whose carry is `[B, ...]`, or `Carried`, and data `[B, ...]` on the mesh."""
    if mesh.size == 1:
        return state, jax.device_put(rows)
    if isinstance(state.carry, Carried):
        carry = state.carry._replace(
            rows=split_batch(state.carry.rows, mesh, 0),
            statistics=replicate(state.carry.statistics, mesh),
        )
    else:
        carry = split_batch(state.carry, mesh, 0)
    return replicate(state, mesh)._replace(carry=carry), split_batch(rows, mesh, 0)


def place_piece(mesh: Mesh, windows: Windows, start: int, count: int, most: int) -> Piece:
    """The windows of some updates on the mesh; each process reads the rows of its own devices.

    Args:
      mesh: the devices that share a batch.
      windows: of a text in shards.
      start: the first update.
      count: of updates.
      most: updates that the arrays have room for.
    """
    if mesh.size == 1:
        return jax.device_put(windows.piece(start, count, most))

    @lru_cache
    def read(first: int, last: int) -> Piece:
        return windows.piece(start, count, most, slice(first, last))

    def leaf(number: int) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            first, last, _ = index[0].indices(windows.batch_size)
            return np.asarray(read(first, last).rows[number])

        shape = (windows.batch_size, most * windows.seq_len)
        return jax.make_array_from_callback(shape, NamedSharding(mesh, PartitionSpec(AXIS)), part)

    rows = Rows(*map(leaf, range(len(Rows._fields))))
    numbers = (np.int32(start), np.int32(windows.per_epoch))
    return Piece(rows, *replicate(numbers, mesh))
