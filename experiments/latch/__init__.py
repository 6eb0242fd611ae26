"""One unit learns to store one bit: for how many steps it still can (Bengio et al., 1994)."""

from experiments.latch.program import Config, run

__all__ = ["Config", "run"]
