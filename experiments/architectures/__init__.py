"""Which gates matter, and whether MUT1 to 3 are better: ten cells on the same tasks and budget."""

from experiments.architectures.program import Config, run

__all__ = ["Config", "run"]
