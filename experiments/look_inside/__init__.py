"""Looks inside a trained character model: which unit follows which property of the text."""

from experiments.look_inside.program import Config, run

__all__ = ["Config", "run"]
