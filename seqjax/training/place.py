"""A run's state and data on the devices that share its batch."""

from typing import Any

import jax
from jax.sharding import Mesh

from seqjax.devices.mesh import replicate, split_batch
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
