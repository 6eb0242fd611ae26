"""Networks over trees: formulas deeper than in training, and the sentiment of every phrase."""

from experiments.trees.program import Config, run

__all__ = ["Config", "run"]
