"""What of a recurrence need not be walked step by step, what it costs, and what such cells can do."""

from experiments.parallel_in_time.program import Config, run

__all__ = ["Config", "run"]
