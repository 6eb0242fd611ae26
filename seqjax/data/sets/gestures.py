"""Gesture Phase Segmentation (Madeo, Wagner and Peres, 2013; UCI): seven films, five phases, 30 frames a second."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.files.text import read_text

LARGEST = 1 << 26  # bytes
PHASES = ("Rest", "Preparation", "Stroke", "Hold", "Retraction")
NUM_COORDINATES = 18  # x, y and z of both hands, head, spine and both wrists
SPINE = slice(9, 12)


class GestureFilm(NamedTuple):
    name: str
    frames: np.ndarray  # [T, 36] float32: coordinates relative to the spine, and their changes
    labels: np.ndarray  # [T] int32, places in PHASES


def load_gestures(folder: str | Path) -> list[GestureFilm]:
    """The films NAME_raw.csv, plain or `.gz`, of a folder, by name.

    Raises:
      InputError: if there are fewer than three, or a line is of another form.
    """
    root = Path(folder).expanduser()
    try:
        paths = sorted(p for p in root.iterdir() if ".csv" in p.name and "_raw" in p.name)
    except (OSError, ValueError) as error:
        raise InputError(f"data={folder} is no folder that can be read: {error}.") from error
    if len(paths) < 3:
        raise InputError(
            f"data={folder} must have three films NAME_raw.csv or more, it has {len(paths)}."
        )
    return [read_gestures(path) for path in paths]


def read_gestures(path: Path) -> GestureFilm:
    """One film. The one label that is in Portuguese, Preparação, is Preparation.

    Raises:
      InputError: if a line has other columns, or a phase that there is not.
    """
    lines = read_text(path, LARGEST).removeprefix("\ufeff").splitlines()
    rows, labels = [], []
    for number, row in enumerate(csv.reader(lines[1:]), 2):
        phase = row[-1].strip().replace("Preparação", "Preparation") if row else ""
        try:
            values = [float(value) for value in row[:NUM_COORDINATES]]
        except ValueError:
            values = []
        if len(values) != NUM_COORDINATES or phase not in PHASES or not np.isfinite(values).all():
            raise InputError(
                f"{path}, line {number}: write {NUM_COORDINATES} numbers, a time and a phase, one of"
                f" {', '.join(PHASES)}; got {shown(','.join(row))}."
            )
        rows.append(values)
        labels.append(PHASES.index(phase))
    if not rows:
        raise InputError(f"{path} has no frames.")
    points = np.array(rows, np.float32).reshape(len(rows), -1, 3)
    points = points - np.array(rows, np.float32)[:, None, SPINE]
    frames = points.reshape(len(rows), -1)
    changes = np.diff(frames, axis=0, prepend=frames[:1])
    return GestureFilm(
        path.name.split("_raw")[0], np.concatenate([frames, changes], 1), np.array(labels, np.int32)
    )
