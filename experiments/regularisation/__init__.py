"""What keeps a recurrent network from learning its text by heart: one ablation of the lectures' list."""

from experiments.regularisation.program import Config, run

__all__ = ["Config", "run"]
