"""Levels of a platform game, read and written as text, and how many of those written can be finished."""

from experiments.mario.program import Config, run

__all__ = ["Config", "run"]
