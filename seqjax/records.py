"""Numbers on disk in files that other tools read: metrics.jsonl and TensorBoard events."""

import json
import math
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter


class Records:
    """Appends rows `{"step", "split", ...}` to metrics.jsonl and to TensorBoard event files.

    Args:
      workdir: where both are written.
      resume_step: rows of later steps are removed first, so that a resumed run leaves the same
        file as an uninterrupted one; 0 starts afresh.
    """

    def __init__(self, workdir: Path, resume_step: int = 0):
        self._path = workdir / "metrics.jsonl"
        kept = [row for row in read_rows(self._path) if row["step"] <= resume_step]
        write_atomically(self._path, "".join(_line(row) for row in kept) if resume_step else "")
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(
            str(workdir / "tensorboard"), purge_step=resume_step + 1, write_to_disk=True
        )

    def write(self, step: int, split: str, **values: float) -> None:
        """Writes one row; a value that is not finite becomes null."""
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        self._file.write(_line({"step": step, "split": split, **finite}))
        self._file.flush()
        for name, value in finite.items():
            if value is not None:
                self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a last line that was cut off in writing is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all; a number that is not finite becomes null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Writes to a neighbour and renames it, so that no reader ever sees half a file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"
