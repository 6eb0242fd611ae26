"""Levels as text, column by column, and back (Summerville and Mateas, 2016).

A line is a column, from the ground up; with `snaking` every second one from the sky down, so that what is
near in the level is near in the text. With `depth` a line begins with a mark for every five columns before it. An
empty line ends a level.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.files.json import read_object
from seqjax.tasks.platformer import EMPTY, PATH, TILES, Level, check_level, draw_level, with_path

MARK, EVERY = "@", 5  # of depth
GRAMMAR = 40, 200  # levels, columns
GAMES = ("smb1", "smb2j")
HELD_OUT = 5  # one level of so many is held out


class Way(NamedTuple):
    """How a level is written."""

    snaking: bool
    path: bool
    depth: bool


class Levels(NamedTuple):
    train: list[Level]
    held_out: list[Level]


def load_levels(data: str, game: str, seed: int) -> Levels:
    """Levels of the grammar, or of a game of the Video Game Level Corpus.

    Raises:
      InputError: if a file is missing, or a level has rows of different lengths or an unknown tile.
    """
    if data == "grammar":
        random = np.random.default_rng(seed)
        levels = [draw_level(random, GRAMMAR[1]) for _ in range(GRAMMAR[0])]
    else:
        levels = read_levels(Path(data).expanduser() / f"{game}_processed.json")
    held = levels[HELD_OUT - 1 :: HELD_OUT] or levels[-1:]
    train = [level for level in levels if level not in held]
    if not train:
        raise InputError(f"data={data}: all levels are alike, and one of them is held out.")
    return Levels(train, held)


def read_levels(path: Path) -> list[Level]:
    """The levels of a JSON object of names and texts, a row in each line."""
    found: dict[str, Any] = read_object(path)
    levels = []
    for name, text in found.items():
        if not isinstance(text, str) or not text.split():
            raise InputError(f"{path}: level {shown(name)} is no text with rows.")
        level = tuple(text.split())
        try:
            check_level(level)
        except InputError as error:
            raise InputError(f"{path}, level {name}: {error}") from error
        levels.append(level)
    if len(levels) < 2:
        raise InputError(f"{path} must have two levels or more, it has {len(levels)}.")
    return levels


def to_text(levels: Sequence[Level], way: Way) -> str:
    """Levels as one text; those that cannot be finished have no path."""
    return "".join(_level_text(level, way) + "\n" for level in levels)


def _level_text(level: Level, way: Way) -> str:
    if way.path:
        with suppress(InputError):
            level = with_path(level)
    lines = []
    for number in range(len(level[0])):
        column = "".join(row[number] for row in reversed(level))
        if way.snaking and number % 2:
            column = column[::-1]
        marks = MARK * (number // EVERY) if way.depth else ""
        lines.append(f"{marks}{column}\n")
    return "".join(lines)


class Written(NamedTuple):
    """A level that a network wrote."""

    level: Level  # without path
    path: set[tuple[int, int]]  # the places that it marked as path
    bad_columns: int  # lines that are no column: of another length, or with something else in it


def from_text(text: str, way: Way, height: int) -> Written:
    """The level that a text begins with; lines that are no column are left out and counted.

    Which lines of a snaking text run down is told by their numbers, those that are left out included.
    """
    columns: list[str] = []
    path: set[tuple[int, int]] = set()
    bad = 0
    for number, line in enumerate(text.split("\n")):
        column = line.replace(MARK, "") if way.depth else line
        if not column:
            break  # the level ends
        if len(column) != height or set(column) - TILES - {PATH}:
            bad += 1
            continue
        if way.snaking and number % 2:
            column = column[::-1]
        path |= {(height - 1 - i, len(columns)) for i, tile in enumerate(column) if tile == PATH}
        columns.append(column.replace(PATH, EMPTY))
    rows = tuple("".join(c[height - 1 - r] for c in columns) for r in range(height))
    return Written(rows if columns else (), path, bad)


def dump(levels: Sequence[Level]) -> str:
    """Levels as a JSON object, as the corpus has them."""
    named = {f"level {i}": "\n".join(level) for i, level in enumerate(levels)}
    return json.dumps(named, indent=1) + "\n"
