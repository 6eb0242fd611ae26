"""Parallel text: a line and its translation, from two files or from the columns of one."""

import re
from pathlib import Path
from typing import NamedTuple

from seqjax.data.text import SPLIT_WORDS
from seqjax.errors import InputError, shown
from seqjax.files.text import read_text

LARGEST = 1 << 28  # bytes of one file


class Pair(NamedTuple):
    source: str
    target: str


class ParallelSplits(NamedTuple):
    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]


def load_parallel(
    folder: str, source: str, target: str, *, test: str = "", held_out: int = 1000
) -> ParallelSplits:
    """The pairs of lines in a folder.

    Args:
      folder: with the files NAME.SOURCE and NAME.TARGET, plain or `.gz`, a sentence in each line; or
        NAME.tsv, where the source is the first column and the target the second. NAME says train, valid
        (val, dev) or test.
      source: what the names of source files end in, such as "de".
      target: the same of targets.
      test: NAME of the test files, where there are several; the first by name if empty.
      held_out: so many pairs, or a tenth of all if that is less, are taken from the end of training
        for each split that has no file.

    Raises:
      InputError: if files are missing, do not match, or have an empty line.
    """
    names = _names(folder, source, target)
    splits: dict[str, list[Pair]] = {}
    for name, paths in sorted(names.items()):
        words = re.split(r"[^a-z]+", name.lower())
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")
        if split and split not in splits and (split != "test" or test in ("", name)):
            splits[split] = read_pairs(*paths)
    if "train" not in splits:
        raise InputError(
            f"data={folder}: give a folder with train.{source} and train.{target}, or train.tsv."
        )
    if test and "test" not in splits:
        raise InputError(f"data={folder}: there are no test files {test}.{source} and {target}.")
    train = splits["train"]
    for name in ("test", "validation"):
        if name not in splits:
            cut = max(1, min(held_out, len(train) // 10))
            train, splits[name] = train[:-cut], train[-cut:]
    if not train:
        raise InputError(f"data={folder} has too few pairs to train on.")
    return ParallelSplits(train, splits["validation"], splits["test"])


def read_pairs(source: Path, target: Path | None = None) -> list[Pair]:
    """The pairs of two files, or of the columns of one.

    Raises:
      InputError: if the files differ in length, or a line is empty.
    """
    lines = read_text(source, LARGEST).removesuffix("\n").split("\n")
    if target is None:
        pairs = [_columns(source, number, line) for number, line in enumerate(lines, 1)]
    else:
        others = read_text(target, LARGEST).removesuffix("\n").split("\n")
        if len(lines) != len(others):
            raise InputError(
                f"{source} has {len(lines):,} lines and {target} {len(others):,}: each line must be"
                " the translation of the other file's."
            )
        pairs = [Pair(a.strip(), b.strip()) for a, b in zip(lines, others, strict=True)]
    for number, pair in enumerate(pairs, 1):
        if not pair.source or not pair.target:
            empty = source if target is None or not pair.source else target
            raise InputError(f"{empty}, line {number} is empty: leave this pair out.")
    return pairs


def _columns(path: Path, number: int, line: str) -> Pair:
    columns = line.split("\t")
    if len(columns) < 2:
        raise InputError(
            f"{path}, line {number}: write a sentence, a tab and its translation, got {shown(line)}."
        )
    return Pair(columns[0].strip(), columns[1].strip())


def _names(folder: str, source: str, target: str) -> dict[str, tuple[Path, Path | None]]:
    """The files of each NAME."""
    try:
        files = sorted(p for p in Path(folder).expanduser().iterdir() if p.is_file())
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"data={folder} is no folder that can be read: {error}.") from error
    by_name = {path.name.removesuffix(".gz"): path for path in files}
    found: dict[str, tuple[Path, Path | None]] = {}
    for name, path in by_name.items():
        stem, _, ending = name.rpartition(".")
        if ending == "tsv":
            found[stem] = path, None
        elif ending == source and f"{stem}.{target}" in by_name:
            found[stem] = path, by_name[f"{stem}.{target}"]
    return found
