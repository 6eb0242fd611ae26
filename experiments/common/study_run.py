"""What surrounds the work of every study: its directory, its config, its ledgers and its results."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common.engines import drive, engine_of
from seqjax.files.writing import write_atomically
from seqjax.runs.ledger import Ledger
from seqjax.runs.results import write_results
from seqjax.runs.session import open_run
from seqjax.runs.study import Unit, work_through
from seqjax.runs.workdir import identity_of
from seqjax.search.engines import Record


class StudyRun(NamedTuple):
    """A study that has its directory."""

    name: str  # as in `python -m experiments.NAME`
    config: Any  # a frozen dataclass
    workdir: Path
    start: float  # by the monotonic clock

    def rows(self, units: Mapping[str, Unit], ledger: str) -> dict[str, dict[str, Any]]:
        """The rows of all units, computed or read from the ledger file, as by `work_through`."""
        resume, seed = self.config.resume, self.config.seed
        of = identity_of(self.config)
        return work_through(units, self.workdir / ledger, seed=seed, resume=resume, of=of)

    def evaluated(
        self, function: str, records: Mapping[str, Record], ledger: str
    ) -> dict[str, dict[str, Any]]:
        """The rows of all records by name: read from the ledger file, or computed as --engine says.

        Args:
          function: "module:name" of a function `record -> row`.
          records: by name.
          ledger: the name of the file.
        """
        of = identity_of(self.config)
        with Ledger(self.workdir / ledger, self.config.resume, of=of) as kept:
            missing = {name: r for name, r in records.items() if kept.get(name) is None}

            def write(name: str, row: dict[str, Any]) -> str:
                kept.write(name, row)
                return name

            drive(
                engine_of(self.config, self.workdir),
                function,
                missing,
                write=write,
                advice=f"go on with resume=True workdir={self.workdir}",
                before=len(records) - len(missing),
            )
            return {name: kept.rows[name] for name in records}

    def finish(self, results: dict[str, Any], table: str) -> None:
        """Prints the table and writes table.txt and results.json."""
        write_table(self.workdir, table)
        write_results(
            self.workdir,
            experiment=self.name,
            config=self.config,
            results=results,
            seconds=time.monotonic() - self.start,
        )


@contextmanager
def open_study(
    name: str, config: Any, *, expect: str, version: int | None = None
) -> Iterator[StudyRun]:
    """Opens the study's directory, writes config.json and says what to expect.

    Args:
      name: of the study, as in `python -m experiments.NAME`.
      config: its dataclass, with the field `workdir`, and `resume` if a killed run can go on.
      expect: what is about to happen and how long it takes, for the terminal.
      version: of the format of its ledger, where formats have changed.

    Raises:
      InputError: if the directory holds a run that is not resumed, or one that is resumed was made
        with another config or in another format.
      RunError: if another run has the directory.
    """
    start = time.monotonic()
    with open_run(config, name=name, version=version) as workdir:
        print(f"{expect}; writing to {workdir}", flush=True)
        yield StudyRun(name, config, workdir, start)


def write_table(workdir: Path, table: str) -> None:
    """Prints a table and writes it to table.txt."""
    print(table)
    write_atomically(workdir / "table.txt", table + "\n")
