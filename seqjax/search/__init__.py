"""Many trainings at once: populations of settings in one compiled program.

A population trains the settings it is given; which ones to try is for an experiment to decide.
"""

from seqjax.search.population import Population, Trials, init_population, make_round
from seqjax.search.sizes import hidden_mask, masked

__all__ = ["Population", "Trials", "hidden_mask", "init_population", "make_round", "masked"]
