"""Numbers on disk in files that other tools read: metrics.jsonl and TensorBoard events."""

import json
import math
import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from seqjax.errors import InputError, RunError
from seqjax.files.json import append, read_lines, write_atomically


class Records:
    """Appends rows `{"step", "split", ...}` to metrics.jsonl and to TensorBoard event files.

    Args:
      workdir: where both are written.
      resume_step: rows of later steps are removed first, so that a resumed run leaves the same
        file as an uninterrupted one; 0 starts afresh.

    Raises:
      InputError: if metrics.jsonl is damaged; it names the line.
      RunError: if one of them cannot be written.
    """

    def __init__(self, workdir: Path, resume_step: int = 0):
        path = workdir / "metrics.jsonl"
        rows = read_lines(path) if resume_step else []
        for number, row in enumerate(rows, 1):
            if type(row.get("step")) is not int or not isinstance(row.get("split"), str):
                raise InputError(
                    f'line {number} of {path} needs a "step", an integer, and a "split", a string.'
                )
        kept = [row for row in rows if row["step"] <= resume_step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        board = workdir / "tensorboard"
        try:
            board.mkdir(exist_ok=True)
            write_atomically(path, text)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise RunError(f"cannot write {error.filename or path}: {error.strerror}.") from error
        # The synchronous writer: the usual one would meet a full disk in a thread of its own.
        self._events = EventsWriter(str(board / "events"), f".{os.getpid()}")
        start = SessionLog(status=SessionLog.START)  # later steps of earlier files are hidden
        self._events.write_event(
            Event(wall_time=time.time(), step=resume_step + 1, session_log=start)
        )

    def write(self, step: int, split: str, **values: float) -> None:
        """Writes one row, onto the disk; a value that is not finite becomes null."""
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        row = {"step": step, "split": split, **finite}
        append(self._file, json.dumps(row, allow_nan=False) + "\n")
        for name, value in finite.items():
            if value is not None:
                summary = scalar(f"{split}/{name}", value)
                self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._events.flush()

    def close(self) -> None:
        self._file.close()
        self._events.close()
