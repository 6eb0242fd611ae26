"""How fast recurrent layers run on the CPU: seqjax, a plain `lax.scan`, and six other libraries."""

from experiments.speed.program import Config, run

__all__ = ["Config", "run"]
