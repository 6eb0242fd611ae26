"""What an LSTM's forget bias is at the start decides how far back it can learn to look."""

from experiments.forget_bias.program import Config, run

__all__ = ["Config", "run"]
