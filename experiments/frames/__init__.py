"""A label for every frame: one frame, a window of them, and recurrent networks in one direction and both."""

from experiments.frames.program import Config, run

__all__ = ["Config", "run"]
