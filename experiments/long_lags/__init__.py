"""Which methods bridge a long lag, on the tasks that were designed to test it."""

from experiments.long_lags.program import Config, run

__all__ = ["Config", "run"]
