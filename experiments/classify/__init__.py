"""Sentences in, one label out: pooling by last, mean and max, beside bags of words."""

from experiments.classify.program import Config, run

__all__ = ["Config", "run"]
