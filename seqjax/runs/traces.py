"""Whether a run that goes on may begin at its first step."""

from pathlib import Path

from seqjax.errors import RunError
from seqjax.runs.checkpoint import Checkpoints


def check_never_began(workdir: Path) -> None:
    """Raises RunError if a run without a checkpoint to go on from has left anything else.

    A run saves its first state before it writes its first row. Where there are rows of metrics, or
    best states, and no last one, something was lost: to begin again would remove what is left.

    Args:
      workdir: of a run that is resumed, and whose `checkpoints/last` does not exist.
    """
    traces = []
    path = workdir / "metrics.jsonl"
    if path.is_file() and path.stat().st_size:
        traces.append("rows in metrics.jsonl")
    if Checkpoints(workdir / "checkpoints" / "best").exists():
        traces.append("states in checkpoints/best")
    if traces:
        raise RunError(
            f"{workdir} has {' and '.join(traces)}, and no state in checkpoints/last to go on from:"
            " bring back what is missing, or start another run in another directory."
        )
