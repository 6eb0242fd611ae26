"""A label for every word: one direction beside both, a softmax beside a CRF, exact ceilings."""

from experiments.tag.program import Config, run

__all__ = ["Config", "run"]
