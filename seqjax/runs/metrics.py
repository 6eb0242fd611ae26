"""Numbers on disk in files that other tools read: metrics.jsonl and TensorBoard events."""

import json
import math
import os
import platform
import secrets
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from seqjax.errors import InputError, RunError
from seqjax.files.json import read_lines
from seqjax.files.writing import append, make_folder, make_new, start_file
from seqjax.runs.sinks import Sink


class Records:
    """Appends rows `{"step", "split", ...}` to metrics.jsonl and to TensorBoard event files.

    Args:
      workdir: where both are written.
      sinks: where rows go as well; it closes them.
      resume_step: rows of later steps are removed first, so that a resumed run leaves the same
        file as an uninterrupted one; 0 starts afresh.

    Raises:
      InputError: if metrics.jsonl is damaged; it names the line.
      RunError: if one of them cannot be written.
    """

    def __init__(self, workdir: Path, resume_step: int = 0, sinks: Sequence[Sink] = ()):
        self._sinks = sinks
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
            make_folder(board)
            self._file = start_file(path, text)
            self._events = _Events(board)
        except OSError as error:
            raise RunError(f"cannot write {error.filename or path}: {error.strerror}.") from error
        start = SessionLog(status=SessionLog.START)  # later steps of earlier files are hidden
        self._events.write(step=resume_step + 1, session_log=start)

    def write(self, step: int, split: str, **values: float) -> None:
        """Writes one row, onto the disk; a value that is not finite becomes null."""
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        row = {"step": step, "split": split, **finite}
        append(self._file, json.dumps(row, allow_nan=False) + "\n")
        for name, value in finite.items():
            if value is not None:
                self._events.write(step=step, summary=scalar(f"{split}/{name}", value))
        self._events.flush()
        known = {f"{split}/{name}": value for name, value in finite.items() if value is not None}
        for sink in self._sinks:
            sink.write(step, known)

    def close(self) -> None:
        self._file.close()
        self._events.close()
        for sink in self._sinks:
            sink.close()


class _Events:
    """A TensorBoard event file in a directory, of a name that nobody can have taken.

    Not tensorboardX's own writer: it writes through a link, and meets a full disk in a thread.
    """

    def __init__(self, directory: Path):
        parts = (f"{int(time.time())}", platform.node(), f"{os.getpid()}", secrets.token_hex(4))
        self._file = make_new(directory / f"events.out.tfevents.{'.'.join(parts)}")
        self.write(file_version="brain.Event:2")

    def write(self, **fields: object) -> None:
        """One event as TFRecord has it: its length and itself, each with its checksum behind."""
        event = Event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(event))
        for data in (length, event):
            self._file.write(data + struct.pack("<I", masked_crc32c(data)))

    def flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
