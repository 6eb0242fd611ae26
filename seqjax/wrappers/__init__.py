"""Functions from cells to a cell: depth, skips and leaks in time, precision.

What changes a cell without being a cell lives here, not as an option of the cell. Nothing here
knows how a cell is unrolled.
"""

from seqjax.wrappers.depth import dense_stack, residual, stack
from seqjax.wrappers.lag import leaky, time_skip
from seqjax.wrappers.precision import low_precision_products

__all__ = ["dense_stack", "leaky", "low_precision_products", "residual", "stack", "time_skip"]
