"""Sentences with a label for each word: columns of CoNLL's shared tasks, and CoNLL-U."""

from pathlib import Path
from typing import NamedTuple

from seqjax.errors import InputError, shown
from seqjax.files.text import read_text

LARGEST = 1 << 28  # bytes of one file


class TaggedSentence(NamedTuple):
    words: tuple[str, ...]
    tags: tuple[str, ...]
    given: tuple[str, ...]  # another column that a tagger may read, such as parts of speech; or ()


def read_columns(
    path: Path, *, tags: int = -1, given: int | None = None, words: int = 0
) -> list[TaggedSentence]:
    """One word in each line, columns separated by white space, an empty line after each sentence.

    Args:
      path: a UTF-8 file, plain or `.gz`.
      tags: the column of the labels.
      given: the column of what is given with the words, or None.
      words: the column of the words.

    Raises:
      InputError: if a line has another number of columns than the first, or there is no sentence.
    """
    sentences: list[TaggedSentence] = []
    rows: list[list[str]] = []
    number_of_columns = 0
    for number, line in enumerate([*read_text(path, LARGEST).split("\n"), ""], 1):
        columns = line.split()
        if columns and not columns[0].startswith("-DOCSTART-"):
            number_of_columns = number_of_columns or _checked(columns, tags, given, path, number)
            if len(columns) != number_of_columns:
                raise InputError(
                    f"{path}, line {number}: {len(columns)} columns, but {number_of_columns} in the"
                    f" lines before: {shown(line)}."
                )
            rows.append(columns)
        elif rows:
            sentences.append(_sentence(rows, words, tags, given))
            rows = []
    if not sentences:
        raise InputError(f"{path} has no sentence.")
    return sentences


def read_conllu(path: Path, *, column: str = "upos") -> list[TaggedSentence]:
    """Words and tags of a CoNLL-U file; ranges (`1-2`) and empty nodes (`8.1`) are left out.

    Args:
      path: a UTF-8 file, plain or `.gz`.
      column: "upos", the universal parts of speech, or "xpos", those of the language.

    Raises:
      InputError: if a line has not ten columns separated by tabs, or there is no sentence.
    """
    place = {"upos": 3, "xpos": 4}.get(column)
    if place is None:
        raise InputError(f"column must be upos or xpos, got {shown(column)}.")
    sentences: list[TaggedSentence] = []
    rows: list[list[str]] = []
    for number, line in enumerate([*read_text(path, LARGEST).split("\n"), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if rows:
                sentences.append(_sentence(rows, 1, place, None))
            rows = []
            continue
        columns = line.split("\t")
        if len(columns) != 10:
            raise InputError(
                f"{path}, line {number}: CoNLL-U has 10 columns separated by tabs, got"
                f" {len(columns)}: {shown(line)}."
            )
        if columns[0].isdigit():
            rows.append(columns)
    if not sentences:
        raise InputError(f"{path} has no sentence.")
    return sentences


def _checked(columns: list[str], tags: int, given: int | None, path: Path, number: int) -> int:
    for place in (tags, given or 0):
        if not -len(columns) <= place < len(columns) or len(columns) < 2:
            raise InputError(
                f"{path}, line {number}: column {place} is asked for, but there are only"
                f" {len(columns)}: {shown(' '.join(columns))}."
            )
    return len(columns)


def _sentence(rows: list[list[str]], words: int, tags: int, given: int | None) -> TaggedSentence:
    def column(place: int) -> tuple[str, ...]:
        return tuple(row[place] for row in rows)

    return TaggedSentence(column(words), column(tags), () if given is None else column(given))
