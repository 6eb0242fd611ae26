"""Many trainings at once: populations of settings in one compiled program.

A population trains what it is given; which settings to try is an experiment's matter.
"""

from seqjax.search.population import Population, Trials, init_population, make_round
from seqjax.search.sizes import hidden_mask, masked

__all__ = ["Population", "Trials", "hidden_mask", "init_population", "make_round", "masked"]
