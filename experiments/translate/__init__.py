"""Sequences in, sequences out: with attention length costs little, through one vector it does."""

from experiments.translate.program import Config, run

__all__ = ["Config", "run"]
