"""Text from files, from the standard library's own sources, or from the Hugging Face hub.

Files are read here, not by `datasets`: that takes a name for a pattern, a URL or an archive where
it can, unpacks without a limit, and leaves a copy of every text in its cache.
"""

import codecs
import hashlib
import io
import itertools
import re
import sysconfig
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from seqjax.data.hub import load_hub
from seqjax.errors import InputError, check_fraction, shown
from seqjax.files.text import unpack

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("valid", "validation", "val", "dev"), "validation"
)
MOST_FILES = 100_000
MOST_CHARS = 1 << 30
PIECE = 1 << 20  # bytes
_OF_SHARDS = re.compile(r"shards\.json|tokens-[0-9]{5}\.bin")
_NOT_LIBRARY = {"site-packages", "test", "tests", "__pycache__", "idlelib", "lib2to3"}


class TextSplits(NamedTuple):
    train: str
    validation: str
    test: str


def load_text(
    source: str,
    *,
    validation_fraction: float = 0.05,
    test_fraction: float = 0.0,
    max_chars: int = 0,
    leave_out: str | Path = "",
) -> TextSplits:
    """Loads a corpus and splits it.

    Args:
      source: "stdlib", the Python sources of the running interpreter's standard library, its
        files ordered by the hash of their names so that a split by position is a fair one;
        "hf:NAME" or "hf:NAME/CONFIG", a data set of the Hugging Face hub with a text column;
        or a path: a UTF-8 text file (.gz too), a directory (every file in it) or a glob.
      validation_fraction: share of the characters, at the end but for the test share.
      test_fraction: share of the characters at the very end.
      max_chars: keep this many characters from the start, before splitting; 0 for all.
      leave_out: a directory whose files are no part of the corpus, as what a run writes: the run
        that goes on reads the same text then as the one that began. "" for none.

    Files whose names say train and valid (val, dev), and test, and hub splits of these names, are the splits;
    files of other names beside them are left out. Names that say train and test alone are splits only if no file
    has another name (a folder of programs may well have a train.py and a test.py). The fractions cut, by
    position, a corpus that comes in one piece, and a validation text from one with a test split alone.

    Raises:
      InputError: if nothing is found, or it is empty, or not text.
    """
    check_fraction("validation_fraction", validation_fraction)
    check_fraction("test_fraction", test_fraction)
    if validation_fraction + test_fraction >= 1:
        raise InputError(
            "validation_fraction and test_fraction leave nothing to train on:"
            f" {validation_fraction} + {test_fraction} is not below 1."
        )
    if type(max_chars) is not int or max_chars < 0:
        raise InputError(f"max_chars must be 0 (all) or more, got {shown(max_chars)}.")
    if source.startswith("hf:"):
        texts = _load_hub(source[3:])
    else:
        files = _stdlib_files() if source == "stdlib" else _find_files(source, leave_out)
        groups = _group_by_split(files)
        texts = {split: _load_files(paths, max_chars) for split, paths in groups.items()}
    if not texts.get("train", "").strip():
        raise InputError(f"data={source}: the training text is empty.")
    if max_chars:
        texts = {split: text[:max_chars] for split, text in texts.items()}
    if "validation" not in texts:
        cut = _cut(texts["train"], validation_fraction, 0 if "test" in texts else test_fraction)
        texts = cut | {split: text for split, text in texts.items() if split != "train"}
    return TextSplits(*(texts.get(split, "") for split in SPLITS))


def _cut(text: str, validation_fraction: float, test_fraction: float) -> dict[str, str]:
    # The small term keeps 1 - 0.1 of 1000 from being 899.
    train_end = int(len(text) * (1 - validation_fraction - test_fraction) + 1e-6)
    validation_end = int(len(text) * (1 - test_fraction) + 1e-6)
    return {
        "train": text[:train_end],
        "validation": text[train_end:validation_end],
        "test": text[validation_end:],
    }


def _stdlib_files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    names = [p.relative_to(root) for p in root.rglob("*.py")]
    names = [name for name in names if not _NOT_LIBRARY & set(name.parts)]
    names.sort(key=lambda name: hashlib.sha256(name.as_posix().encode()).digest())
    return [root / name for name in names]


def _find_files(source: str, leave_out: str | Path = "") -> list[Path]:
    """The files a path means; those that begin with a dot, below it, are left out.

    What exists by its very name is that, whatever `*` or `[` there is in it.
    """
    files: list[Path] = []
    with suppress(OSError, ValueError, RuntimeError):  # too long, a zero byte, nobody's home
        path = Path(source).expanduser()
        root = path
        while not root.exists() and root != root.parent:
            root = root.parent
        if root.is_file():
            files = [root] if root == path else []
        elif source.strip():
            pattern = re.sub(r"(\*\*/)+", "**/", path.relative_to(root).as_posix())
            files = _glob(root, "**/*" if root == path else pattern)
            if str(leave_out):
                out = Path(leave_out).expanduser().resolve()
                files = [file for file in files if not file.resolve().is_relative_to(out)]
    shards = next((file for file in files if _OF_SHARDS.fullmatch(file.name)), None)
    if shards is not None:
        raise InputError(
            f"data={source}: {shards} is a part of shards, not text; char_lm reads their folder."
        )
    if not files:
        raise InputError(
            f"data={source}: no such file, directory or glob. Write stdlib, hf:NAME or a path"
            " to text."
        )
    if len(files) > MOST_FILES:
        raise InputError(f"data={source}: more than {MOST_FILES:,} files.")
    return sorted(files)


def _glob(root: Path, pattern: str) -> list[Path]:
    # Path.glob, unlike glob.glob, gives each file once and follows no link to a directory,
    # which may lead up again.
    found = (path.relative_to(root) for path in root.glob(pattern))
    seen = (root / p for p in found if not any(part.startswith(".") for part in p.parts))
    return list(itertools.islice((path for path in seen if path.is_file()), MOST_FILES + 1))


def _group_by_split(files: list[Path]) -> dict[str, list[Path]]:
    """The files of each split, by the rules of `load_text`; all are for training where names tell no splits."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        words = re.split(r"[^a-z]+", path.name.lower())
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")
        groups.setdefault(split, []).append(path)
    others = groups.pop("", [])
    complete = "validation" in groups or ("test" in groups and not others)
    return groups if "train" in groups and complete else {"train": files}


def _load_files(paths: list[Path], max_chars: int) -> str:
    """The texts of files, one after the other; no more is read than is wanted."""
    wanted = max_chars or MOST_CHARS + 1
    texts: list[str] = []
    for path in paths:
        if wanted:
            texts.append(_read(path, wanted))
            wanted -= len(texts[-1])
    if not wanted and not max_chars:
        raise InputError(
            f"the text of {paths[0]} and on has more than {MOST_CHARS:,} characters: give"
            " max_chars to use its beginning."
        )
    return "".join(texts)


def stream_text(source: str, leave_out: str | Path = "") -> Iterator[str]:
    """The text of the files that a path means, piece by piece, however long it is.

    Args:
      source: a path, as of `load_text`.
      leave_out: a directory whose files are no part of the text.

    Raises:
      InputError: as `load_text`; or if names of files say that they are splits, which would be joined.
    """
    files = _find_files(source, leave_out)
    if len(_group_by_split(files)) > 1:
        raise InputError(
            f"data={source} has files of several splits, by their names: give those to train on alone."
        )
    for path in files:
        yield from _decoded(path)


def _read(path: Path, most: int) -> str:
    """Up to `most` characters of a UTF-8 text file."""
    texts: list[str] = []
    for piece in _decoded(path):
        texts.append(piece[:most])
        most -= len(texts[-1])
        if not most:
            break
    return "".join(texts)


def _decoded(path: Path) -> Iterator[str]:
    """The text of a UTF-8 file in pieces, every line end made a line feed."""
    # Asked for a large piece at once, Python sets memory aside for it.
    utf8 = codecs.getincrementaldecoder("utf-8-sig")()  # some editors begin a file with a mark
    lines = io.IncrementalNewlineDecoder(utf8, translate=True)
    try:
        for piece in _pieces(path):
            if b"\0" in piece:
                raise _binary(path)
            yield lines.decode(piece)
        yield lines.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot read it as UTF-8 text ({error.reason}).") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}.") from error


def _pieces(path: Path) -> Iterator[bytes]:
    if path.suffix == ".gz":
        yield from unpack(path)
        return
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _binary(path: Path) -> InputError:
    return InputError(
        f"{path} is binary, not text. Name the text files with a glob, such as"
        f" '{path.parent}/**/*.txt'."
    )


def _load_hub(name: str) -> dict[str, str]:
    loaded = load_hub(name)
    return {SPLIT_WORDS.get(split, split): _column(d) for split, d in loaded.items()}


def _column(dataset: Any) -> str:
    strings = [k for k, v in dataset.features.items() if getattr(v, "dtype", "") == "string"]
    if not strings:
        raise InputError(f"the data set has no text column, only {list(dataset.features)}.")
    column = "text" if "text" in strings else strings[0]
    return "\n".join((row or "").rstrip("\n") for row in dataset[column]) + "\n"
