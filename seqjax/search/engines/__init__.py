"""Where the evaluations of a search run: here, on all cores, on a Ray cluster, or under Slurm.

An engine takes a function by its name and records by theirs, and gives results as they are done:

    from seqjax.search.engines import local

    for item in local()("my_search:evaluate", {"a": {"rate": 0.1}, "b": {"rate": 0.2}}):
        if item is not None:  # None: nothing new, look at other things
            name, result = item

What is done stands in the driver's ledger (`seqjax.runs.Ledger`); engines remember nothing.
"""

from seqjax.search.engines.in_process import here
from seqjax.search.engines.processes import cores, local
from seqjax.search.engines.ray_cluster import on_ray
from seqjax.search.engines.records import Engine, Record, Result
from seqjax.search.engines.slurm_cluster import on_slurm

__all__ = ["Engine", "Record", "Result", "cores", "here", "local", "on_ray", "on_slurm"]
