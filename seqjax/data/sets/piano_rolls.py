"""Polyphonic music as piano rolls (Boulanger-Lewandowski, Bengio and Vincent, 2012).

JSON, plain or .gz: `{"train": pieces, "valid": pieces, "test": pieces}`, a piece a list of time steps, a
step a list of MIDI pitches from 21 (A0) to 108 (C8), empty for silence. JSB Chorales, Nottingham,
MuseData and Piano-midi go round in this form.
"""

from pathlib import Path
from typing import Any

import numpy as np

from seqjax.data.sequences import Example, Sequences
from seqjax.errors import InputError, shown
from seqjax.files.json import read_object

LOWEST, NOTES = 21, 88
SPLITS = ("train", "valid", "test")


def load_piano_rolls(path: Path | str) -> Sequences:
    """Reads piano rolls; each step is to be predicted from those before it.

    Args:
      path: the file, or a directory with one `*.json` or `*.json.gz` or with
        `jsb-chorales-quarter.json`.

    Returns:
      uint8 arrays `[T, 88]`: targets the piece, inputs the piece one step later, silence first.

    Raises:
      InputError: if there is no such file, or it is not of that form; it names split, piece and step.
    """
    path = _find(Path(path))
    pieces = read_object(path)
    splits = []
    for split in SPLITS:
        found = pieces.get(split)
        if not isinstance(found, list) or not found:
            raise InputError(f"{path} needs a list of pieces under {split!r}, got {shown(found)}.")
        splits.append([_piece(p, f"{path}: {split} piece {i}") for i, p in enumerate(found, 1)])
    train, valid, test = splits
    return Sequences(train, valid, test, names=())


def next_frame(roll: np.ndarray) -> Example:
    """A roll `[T, 88]` as what is to be predicted, and the same one step later as the inputs."""
    return Example(np.concatenate([np.zeros_like(roll[:1]), roll[:-1]]), roll)


def independent_notes(sequences: Sequences) -> float:
    """Nats per test step of a model in which each note sounds with its training frequency."""
    train = np.concatenate([e.targets for e in sequences.train])
    test = np.concatenate([e.targets for e in sequences.test])
    p = (train.sum(0) + 1) / (len(train) + 2)  # Laplace: a note never heard is not impossible
    return float(-(test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean())


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    usual = path / "jsb-chorales-quarter.json"
    files = [usual] if usual.is_file() else sorted([*path.glob("*.json"), *path.glob("*.json.gz")])
    if len(files) != 1:
        raise InputError(
            f"{path} holds {len(files)} files *.json or *.json.gz; name the file of piano rolls."
        )
    return files[0]


def _piece(piece: Any, where: str) -> Example:
    if not isinstance(piece, list) or not piece:
        raise InputError(f"{where} must be a list of time steps, got {shown(piece)}.")
    roll = np.zeros((len(piece), NOTES), np.uint8)
    for t, step in enumerate(piece):
        if not isinstance(step, list):
            raise InputError(f"{where}, step {t + 1} must be a list of pitches, got {shown(step)}.")
        for pitch in step:
            note = pitch - LOWEST if isinstance(pitch, int | float) else -1  # some write 62.0
            if isinstance(pitch, bool) or not 0 <= note < NOTES or note != int(note):
                raise InputError(
                    f"{where}, step {t + 1}: pitches are whole numbers from 21 to 108, got"
                    f" {shown(pitch)}."
                )
            roll[t, int(note)] = 1
    return next_frame(roll)
