"""A training loop as a generator: chunks of updates, and nothing on the disk."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from seqjax.errors import check_positive
from seqjax.training.step import Metrics, TrainState, check_progress

MOST_IN_A_ROW = 100  # updates that are not finite, after which a run has diverged


@dataclasses.dataclass
class Chunk:
    """Some updates in a row, done.

    Attributes:
      state: after them. Training goes on from what stands here when the next chunk is asked for, so
        a loop may put another state in its place, as `roll_back` gives it.
      step: updates done so far, these included.
      metrics: the means over those of them that were applied; NaN if none was.
      skipped: how many of them were not applied.
    """

    state: TrainState
    step: int
    metrics: dict[str, float]
    skipped: int


def fit(
    steps: Callable[[TrainState, Any, int], tuple[TrainState, Metrics]],
    state: TrainState,
    data: Any,
    *,
    num_steps: int,
    ends: Iterable[int],
    most_in_a_row: int = MOST_IN_A_ROW,
) -> Iterator[Chunk]:
    """Trains until `num_steps` updates were tried, one chunk after the other.

        for chunk in fit(steps, state, rows, num_steps=3000, ends=(50, 500)):
            print(chunk.step, chunk.metrics["loss"])
            if chunk.step % 500 == 0:
                validate(chunk.state.params)

    Where the chunks end does not change what is computed: the batch and the key of an update follow
    from its number.

    Args:
      steps: from `make_train_steps`.
      state: where to begin; its `step` counts.
      data: what `steps` takes its batches from.
      num_steps: the last update.
      ends: a chunk ends at every multiple of each of these, and at `num_steps`; zeros do not count.
      most_in_a_row: updates in a row whose loss or gradient may be not finite, looked at where a chunk ends;
        0: none at all.

    Raises:
      InputError: if one of `ends` is negative.
      RunError: if more than `most_in_a_row` are.
    """
    ends = [check_positive("ends", end) for end in ends if end]
    while (step := int(state.step)) < num_steps:
        end = min([num_steps, *((step // every + 1) * every for every in ends)])
        skipped = int(state.skipped)
        state, metrics = steps(state, data, end - step)
        newly_skipped = int(state.skipped) - skipped
        if newly_skipped:
            check_progress(state, most_in_a_row=most_in_a_row)
        values = {name: float(value) for name, value in metrics.values.items()}
        chunk = Chunk(state, end, values, newly_skipped)
        yield chunk
        state = chunk.state
