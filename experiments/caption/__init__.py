"""An image in, a sentence out: four ways in which the image enters, beside a network that sees nothing."""

from experiments.caption.program import Config, run

__all__ = ["Config", "run"]
