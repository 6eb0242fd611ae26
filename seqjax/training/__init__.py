"""Training as pure functions: one update, many in one dispatch, optimizers, objectives.

Nothing here writes a file or knows a flag: what a run keeps is `seqjax.runs`. `saved_models` reads
what was kept.
"""

from seqjax.training.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from seqjax.training.step import (
    Metrics,
    TrainState,
    init_train_state,
    make_train_step,
    make_train_steps,
)

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Metrics",
    "TrainState",
    "init_train_state",
    "make_optimizer",
    "make_schedule",
    "make_train_step",
    "make_train_steps",
]
