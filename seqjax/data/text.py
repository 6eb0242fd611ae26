"""Text from files, from the standard library's own sources, or from the Hugging Face hub.

All three go through Hugging Face `datasets`, one row per document.
"""

import glob
import gzip
import hashlib
import re
import sysconfig
from pathlib import Path
from typing import NamedTuple

import datasets

from seqjax.errors import InputError, check_fraction

SPLITS = ("train", "validation", "test")
_SPLIT_WORDS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("valid", "validation", "val", "dev"), "validation"
)
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

    Files whose names say train, valid (val, dev) or test, and hub splits of these names, are
    the splits; the fractions cut only a corpus that comes in one piece, by position.

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
    if max_chars < 0:
        raise InputError(f"max_chars must be 0 (all) or more, got {max_chars}.")
    if source.startswith("hf:"):
        texts = _load_hub(source[3:])
    else:
        files = _stdlib_files() if source == "stdlib" else _find_files(source)
        texts = _load_files(_group_by_split(files), source)
    if not texts.get("train", "").strip():
        raise InputError(f"--data={source}: the training text is empty.")
    if max_chars:
        texts = {split: text[:max_chars] for split, text in texts.items()}
    if "validation" not in texts:
        texts |= _cut(texts["train"], validation_fraction, test_fraction)
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


def _find_files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    files: list[Path] = []
    if not source.strip():
        pass
    elif path.is_file():
        files = [path]
    elif path.is_dir():
        inside = [p.relative_to(path) for p in path.rglob("*")]
        files = [path / p for p in inside if not any(part.startswith(".") for part in p.parts)]
    else:
        files = [Path(p) for p in glob.glob(str(path), recursive=True)]
    files = sorted(p for p in files if p.is_file())
    if not files:
        raise InputError(
            f"--data={source}: no such file, directory or glob. Write stdlib, hf:NAME or a path"
            " to text."
        )
    return files


def _group_by_split(files: list[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in files:
        for word in re.split(r"[^a-z]+", path.name.lower()):
            if word in _SPLIT_WORDS:
                groups.setdefault(_SPLIT_WORDS[word], []).append(path)
                break
    return groups if "train" in groups and "validation" in groups else {"train": files}


def _load_files(groups: dict[str, list[Path]], source: str) -> dict[str, str]:
    for path in (p for paths in groups.values() for p in paths):
        _check_text(path)
    try:
        with _quiet():
            loaded = datasets.load_dataset(
                "text",
                data_files={split: [str(p) for p in paths] for split, paths in groups.items()},
                sample_by="document",
            )
    except datasets.exceptions.DatasetGenerationError as error:
        raise InputError(
            f"--data={source}: cannot read it as UTF-8 text ({error.__cause__ or error})."
        ) from error
    return {split: "".join(loaded[split]["text"]) for split in groups}


def _check_text(path: Path) -> None:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            head = file.read(1 << 16)
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {error}.") from error
    if b"\0" in head:
        raise InputError(
            f"{path} is binary, not text. Name the text files with a glob, such as"
            f" '{path.parent}/**/*.txt'."
        )


def _load_hub(name: str) -> dict[str, str]:
    parts = name.split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InputError(f"--data=hf:{name}: write hf:NAME or hf:NAME/CONFIG.")
    # NAME itself may be OWNER/NAME, so two parts can be read in two ways.
    readings: list[tuple[str, str | None]] = [(name, None)] if len(parts) < 3 else []
    if len(parts) > 1:
        readings.append(("/".join(parts[:-1]), parts[-1]))
    errors = []
    for path, config in readings:
        try:
            with _quiet():
                loaded = datasets.load_dataset(path, config)
            return {_SPLIT_WORDS.get(split, split): _column(d) for split, d in loaded.items()}
        except InputError:
            raise
        except Exception as error:  # the hub client raises dozens of kinds
            errors.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
    raise InputError(f"--data=hf:{name}: cannot load it ({'; '.join(errors)}).")


def _column(dataset: datasets.Dataset) -> str:
    strings = [k for k, v in dataset.features.items() if getattr(v, "dtype", "") == "string"]
    if not strings:
        raise InputError(f"the data set has no text column, only {list(dataset.features)}.")
    column = "text" if "text" in strings else strings[0]
    return "\n".join(row.rstrip("\n") for row in dataset[column]) + "\n"


class _quiet:
    """Hides the progress bars of `datasets` for a moment."""

    def __enter__(self) -> None:
        self.disabled = datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()

    def __exit__(self, *_) -> None:
        if not self.disabled:
            datasets.enable_progress_bars()
