"""A study of many units: what is done stands in a ledger, the rest is worked through."""

import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jax

from seqjax.runs.ledger import Ledger
from seqjax.runs.progress import Progress
from seqjax.runs.stopping import Stopper
from seqjax.types import Array

Unit = Callable[[Array], dict[str, Any]]  # from a random key to a row of JSON values


def work_through(
    units: Mapping[str, Unit], path: Path, *, seed: int, resume: bool, of: str = ""
) -> dict[str, dict[str, Any]]:
    """Computes the units that the ledger lacks, with progress; returns every row, in order.

    A unit's random key follows from `seed` and its name: the same numbers, whatever was done
    before it. After SIGINT, SIGTERM or SIGHUP the unit in hand is finished and written.

    Args:
      units: by name.
      path: of the ledger.
      seed: of the study.
      resume: whether what the ledger holds counts.
      of: of which study its rows are, as of `Ledger`.

    Raises:
      Stopped: after a signal.
      InputError: if the ledger is damaged.
    """
    rows = {}
    with (
        Ledger(path, resume, of=of) as ledger,
        Stopper() as stopper,
        closing(Progress(len(units))) as progress,
    ):
        for number, (name, compute) in enumerate(units.items(), 1):
            row = ledger.get(name)
            if row is None:
                key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
                row = ledger.write(name, compute(key))
                stopper.check(f"go on with resume=True workdir={path.parent}")
                progress.update(number, name)
            else:
                progress.pass_over()
            rows[name] = row
    return rows
