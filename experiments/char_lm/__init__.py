"""A character language model on real text, beside an n-gram model of the same text."""

from experiments.char_lm.program import Config, run

__all__ = ["Config", "run"]
