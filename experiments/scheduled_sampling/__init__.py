"""Scheduled sampling: what it learns in the limit, and whether it helps where a network errs."""

from experiments.scheduled_sampling.program import Config, run

__all__ = ["Config", "run"]
