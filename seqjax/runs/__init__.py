"""What a run keeps on disk: its directory and lock, metrics, checkpoints, results, signals.

Everything written here survives a kill: it is whole or it is not there. What is trained is not
known here.
"""

from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.ledger import Ledger
from seqjax.runs.metrics import Records
from seqjax.runs.progress import Progress
from seqjax.runs.results import made_with, write_results
from seqjax.runs.stopping import Stopped, Stopper
from seqjax.runs.study import work_through
from seqjax.runs.workdir import open_workdir

__all__ = [
    "Checkpoints",
    "Ledger",
    "Progress",
    "Records",
    "Stopped",
    "Stopper",
    "made_with",
    "open_workdir",
    "work_through",
    "write_results",
]
