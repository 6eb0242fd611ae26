"""What a study of many units has finished, so that a killed study goes on where it was."""

import json
from pathlib import Path
from typing import Any

from seqjax.devices.processes import told
from seqjax.errors import InputError, RunError, reason, shown
from seqjax.files.json import finite, read_lines
from seqjax.files.writing import append, start_file

OF = "study"  # the entry that says of which study a row is


class Ledger:
    """A JSON-lines file with one object per finished unit, named by its "key".

    A unit is a pure function of the study's config and its key. A line is on the disk when `write`
    returns; one that was cut off by a kill is removed on opening, and its unit is done again.

    Args:
      path: the file.
      resume: whether what is there counts; if not, the file starts empty.
      of: the study, as `workdir.identity_of` its config: it is written with every row, and rows of another study
        are refused, whoever put them there. Rows that name none, as older versions wrote them, count.

    Raises:
      InputError: if a line of the file is no object with a key, a key stands twice, or it is of another study.
      RunError: if the file cannot be written.
    """

    def __init__(self, path: Path, resume: bool, *, of: str = ""):
        self.path, self._of = path, of
        self.rows: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(told(lambda: list(read_lines(path))) if resume else (), 1):
            key = row.pop("key", None)
            if not isinstance(key, str) or key in self.rows:
                raise InputError(
                    f'line {number} of {path} needs a "key" of its own, got {shown(key)}.'
                )
            if row.pop(OF, of) != of:
                raise InputError(
                    f"line {number} of {path} is of another study, or of one with another config: remove"
                    " it, or start another run in another directory."
                )
            self.rows[key] = row
        text = "".join(self._line(key, row) for key, row in self.rows.items())
        try:
            self._file = start_file(path, text)
        except (OSError, ValueError) as error:  # (a name with a zero byte is a ValueError)
            raise RunError(f"cannot write {path}: {reason(error)}.") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a finished unit, or None."""
        return self.rows.get(key)

    def write(self, key: str, row: dict[str, Any]) -> dict[str, Any]:
        """Adds a finished unit and returns its row as a resumed study will read it."""
        if key in self.rows:
            raise InputError(f"the unit {key!r} is in {self.path} already.")
        line = self._line(key, row)
        append(self._file, line)
        self.rows[key] = {k: v for k, v in json.loads(line).items() if k not in ("key", OF)}
        return self.rows[key]

    def _line(self, key: str, row: dict[str, Any]) -> str:
        of = {OF: self._of} if self._of else {}
        if taken := row.keys() & {"key", OF}:
            raise InputError(
                f"a row of {self.path} cannot have a field {min(taken)!r}: it is ours."
            )
        return json.dumps({"key": key, **of, **finite(row)}, allow_nan=False) + "\n"

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
