"""Trees as arrays: batches of one size, so that one program trains on all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqjax.recurrence.tree import Placed, Schedule, rounded_up, schedule
from seqjax.types import Tree


class TreeBatch(NamedTuple):
    """Some trees, or many such batches, with one more axis in front."""

    tokens: Any  # [L] int32 ids of the leaves, -1 in the padding
    labels: Any  # [L + S·W] int32, -1 where none is known
    schedule: Schedule
    num_trees: Any  # [] float32


def stack_batches(
    trees: Sequence[Tree], groups: Sequence[np.ndarray], *, arity: int, width: int
) -> tuple[TreeBatch, list[Placed]]:
    """Groups of trees as batches of one size, stacked.

    Args:
      trees: tokens are ids, -1 at inner nodes.
      groups: the numbers of the trees of each batch.
      arity: of the cell.
      width: of a wave.
    """
    leaves = rounded_up(max(sum(int((trees[i].tokens >= 0).sum()) for i in g) for g in groups))
    plans = [
        schedule([trees[i].children for i in g], width=width, arity=arity, leaves=leaves)
        for g in groups
    ]
    waves = max(plan.schedule.children.shape[0] for plan in plans)
    size = max(plan.schedule.children.shape[2] for plan in plans)
    batches = []
    for group, plan in zip(groups, plans, strict=True):
        longer = _longer(plan.schedule, waves, size)
        ids = np.full(len(longer.live), -1, np.int32)
        labels = np.full(len(longer.live), -1, np.int32)
        ids[plan.slots] = np.concatenate([trees[i].tokens for i in group])
        labels[plan.slots] = np.concatenate([trees[i].labels for i in group])
        batches.append(TreeBatch(ids[:leaves], labels, longer, np.float32(len(group))))
    return jax.tree.map(lambda *arrays: np.stack(arrays), *batches), plans


def _longer(plan: Schedule, waves: int, size: int) -> Schedule:
    """A schedule with more waves, which hold padding, and room for more children."""
    waves_missing = waves - plan.children.shape[0]
    missing = [(0, waves_missing), (0, 0), (0, size - plan.children.shape[2])]
    width = plan.children.shape[1]
    slots_missing = (0, waves_missing * width)
    return Schedule(
        np.pad(plan.children, missing),
        np.pad(plan.present, missing),
        np.pad(plan.live, slots_missing),
        np.pad(plan.parents, [slots_missing, (0, 0)], constant_values=-1),
    )


def shuffled_groups(count: int, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """All numbers below `count` in an order of their own for each epoch, cut in batches."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return np.split(order, range(batch_size, count, batch_size))
