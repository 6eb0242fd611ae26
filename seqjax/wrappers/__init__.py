"""Functions from cells to a cell: depth, skips and leaks in time, precision, dropout, zoneout.

What changes a cell without being a cell lives here, not as an option of the cell. Nothing here
knows how a cell is unrolled.
"""

from seqjax.wrappers.depth import dense_stack, residual, stack
from seqjax.wrappers.disturb import state_noise, zoneout
from seqjax.wrappers.dropout import (
    candidate_dropout,
    naive_dropout,
    variational_dropout,
    weight_drop,
)
from seqjax.wrappers.lag import leaky, time_skip
from seqjax.wrappers.precision import low_precision_products

__all__ = [
    "candidate_dropout",
    "dense_stack",
    "leaky",
    "low_precision_products",
    "naive_dropout",
    "residual",
    "stack",
    "state_noise",
    "time_skip",
    "variational_dropout",
    "weight_drop",
    "zoneout",
]
