"""An image read pixel by pixel, and a string that must be kept: what each cell remembers."""

from experiments.pixels.program import Config, run

__all__ = ["Config", "run"]
