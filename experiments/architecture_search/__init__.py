"""A search for better cells: graphs are changed at random, and what beats the GRU is changed again."""

from experiments.architecture_search.config import Config
from experiments.architecture_search.program import run

__all__ = ["Config", "run"]
