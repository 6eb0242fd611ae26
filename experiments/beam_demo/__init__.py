"""Beam search one can touch: a page with a small trained network in it."""

from experiments.beam_demo.program import Config, run

__all__ = ["Config", "run"]
