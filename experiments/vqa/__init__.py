"""A question about an image: three ways of joining both, beside a network that sees nothing."""

from experiments.vqa.program import Config, run

__all__ = ["Config", "run"]
