"""A page on which one drags the gates of an LSTM and of a GRU, and watches their memory."""

from experiments.gates_demo.program import Config, run

__all__ = ["Config", "run"]
