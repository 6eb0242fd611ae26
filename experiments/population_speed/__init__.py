"""How much faster many networks train as one population than one after another."""

from experiments.population_speed.program import Config, run

__all__ = ["Config", "run"]
