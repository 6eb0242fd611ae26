"""One unit that learns to store one bit, and how soon it no longer can (Bengio et al., 1994)."""

from experiments.latch.program import Config, run

__all__ = ["Config", "run"]
