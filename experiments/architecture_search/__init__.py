"""A search for better cells: graphs are changed at random, and what beats the GRU is changed again."""

from experiments.architecture_search.program import Config, run

__all__ = ["Config", "run"]
