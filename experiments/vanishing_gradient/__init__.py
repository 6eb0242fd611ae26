"""How far back a gradient reaches: vanishing and exploding gradients, from theory to trained nets."""

from experiments.vanishing_gradient.program import Config, run

__all__ = ["Config", "run"]
