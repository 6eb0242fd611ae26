"""Sentences with one label each: from files, from a folder, or from the Hugging Face hub."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqjax.data.hub import load_hub
from seqjax.data.text import SPLIT_WORDS
from seqjax.errors import InputError, shown
from seqjax.files.text import lines_of, read_text

LARGEST = 1 << 28  # bytes of one file
_TOKEN = re.compile(r"[\w']+|[^\w\s]")  # words with their apostrophes; every other mark alone
_TAG = re.compile(r"<[^<>]{1,20}>")


class Sentence(NamedTuple):
    words: tuple[str, ...]
    label: str


class LabelledSplits(NamedTuple):
    train: list[Sentence]
    validation: list[Sentence]
    test: list[Sentence]
    labels: tuple[str, ...]  # of the training sentences, sorted


def load_sentences(source: str, *, held_out: float = 0.1, seed: int = 0) -> LabelledSplits:
    """Loads sentences that come with labels.

    Args:
      source: "hf:NAME", a data set of the hub with a text and a label column; or a path: a folder,
        or the beginning of the names of some files (`stsa.binary` for stsa.binary.train and on).
        Files whose names say train, valid (val, dev) or test are the splits. Where none does, each
        file is a class, named by its extension (`rt-polarity.pos`), a sentence in each line; one
        file alone has labels, as below.
        Lines are `LABEL words separated by white space`; a `.jsonl` file, plain or `.gz`, has an
        object with "text" and "label" in each, whose text is cut into words by `tokenise`.
      held_out: share of the training sentences that is drawn to be a split that does not exist.
      seed: of the draw.

    Raises:
      InputError: if nothing is found, a line has no words or no label, or a label of a held-out
        split is none of the training labels.
    """
    if source.startswith("hf:"):
        splits = {
            SPLIT_WORDS[name]: _from_hub(dataset)
            for name, dataset in load_hub(source[3:]).items()
            if name in SPLIT_WORDS
        }
    else:
        splits = _from_files(source)
    if not splits.get("train"):
        raise InputError(f"data={source}: there is no training sentence.")
    labels = tuple(sorted({sentence.label for sentence in splits["train"]}))
    if len(labels) < 2:
        raise InputError(f"data={source}: every training sentence has the label {labels[0]!r}.")
    for name in ("test", "validation"):
        if name not in splits:
            splits["train"], splits[name] = _draw(splits["train"], held_out, seed)
        for sentence in splits[name]:
            if sentence.label not in labels:
                raise InputError(
                    f"data={source}: a {name} sentence has the label {shown(sentence.label)},"
                    f" which no training sentence has: {shown(' '.join(sentence.words))}."
                )
    return LabelledSplits(splits["train"], splits["validation"], splits["test"], labels)


def tokenise(text: str) -> tuple[str, ...]:
    """Lower-case words and marks of plain text; short HTML tags are left out."""
    return tuple(_TOKEN.findall(_TAG.sub(" ", text).lower()))


def read_lines(path: Path) -> list[Sentence]:
    """`LABEL words ...` in each line of a UTF-8 file, plain or `.gz`."""
    sentences = []
    for number, line in enumerate(lines_of(read_text(path, LARGEST)), 1):
        label, *words = line.split() or [""]
        if not words:
            raise InputError(
                f"{path}, line {number}: write a label and then words, got {shown(line)}."
            )
        sentences.append(Sentence(tuple(words), label))
    return sentences


def read_json_lines(path: Path) -> list[Sentence]:
    """An object with "text" and "label" in each line of a UTF-8 file, plain or `.gz`."""
    sentences = []
    for number, line in enumerate(read_text(path, LARGEST).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: this is no JSON: {error}.") from error
        text = row.get("text") if isinstance(row, dict) else None
        label = row.get("label") if isinstance(row, dict) else None
        if not isinstance(text, str) or not isinstance(label, int | str) or not tokenise(text):
            raise InputError(
                f'{path}, line {number}: write {{"text": "some words", "label": ...}}, got'
                f" {shown(line)}."
            )
        sentences.append(Sentence(tokenise(text), str(label)))
    return sentences


def read_class(path: Path) -> list[Sentence]:
    """A sentence in each line, all of the class that the file's extension names."""
    text = _text_of_any_encoding(path)
    lines = [line.split() for line in text.split("\n")]
    return [Sentence(tuple(words), path.suffix.lstrip(".")) for words in lines if words]


def _text_of_any_encoding(path: Path) -> str:
    try:
        return read_text(path, LARGEST)
    except InputError as error:
        if "UTF-8" not in str(error):
            raise
        return path.read_bytes().decode("cp1252", "replace")  # as rt-polarity is


def _from_files(source: str) -> dict[str, list[Sentence]]:
    by_split: dict[str, list[Path]] = {}
    files = _files(source)
    for path in files:
        words = re.split(r"[^a-z]+", path.name.lower())
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")
        by_split.setdefault(split, []).append(path)
    if set(by_split) == {""} and len(files) == 1:
        return {"train": _read(files[0])}
    if set(by_split) == {""}:
        return {"train": [sentence for path in files for sentence in read_class(path)]}
    splits = {}
    for split, paths in by_split.items():
        if split and len(paths) > 1:
            raise InputError(
                f"data={source}: {' and '.join(sorted(p.name for p in paths))} are all of the split"
                f" {split}: give the beginning of the names of one data set, as"
                f" {paths[0].with_suffix('')}."
            )
        if split:
            splits[split] = _read(paths[0])
    return splits


def _files(source: str) -> list[Path]:
    try:
        path = Path(source).expanduser()
        if not source.strip():
            found = []
        elif path.is_dir():
            found = list(path.iterdir())
        elif path.parent.is_dir() and path.name:
            found = [p for p in path.parent.iterdir() if p.name.startswith(path.name)]
        else:
            found = []
        files = [p for p in found if p.is_file() and p.name != "SOURCE.txt"]
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"data={source} is no path: {error}.") from error
    if not files:
        raise InputError(
            f"data={source}: there are no such files; give a folder, or the beginning of their names."
        )
    return sorted(p for p in files if not p.name.startswith("."))


def _read(path: Path) -> list[Sentence]:
    return read_json_lines(path) if ".jsonl" in path.name else read_lines(path)


def _from_hub(dataset: Any) -> list[Sentence]:
    texts = [k for k, v in dataset.features.items() if getattr(v, "dtype", "") == "string"]
    labels = [k for k in dataset.features if k in ("label", "coarse_label", "labels")]
    if not texts or not labels:
        raise InputError(
            f"the data set needs a text and a label column, it has {list(dataset.features)}."
        )
    text = next((k for k in texts if k in ("text", "sentence")), texts[0])
    pairs = zip(dataset[text], dataset[labels[0]], strict=True)
    return [
        Sentence(tokenise(words), str(label)) for words, label in pairs if tokenise(words or "")
    ]


def _draw(
    sentences: list[Sentence], share: float, seed: int
) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences without some of them, drawn at random, and those."""
    order = np.random.default_rng(seed).permutation(len(sentences))
    cut = max(1, round(share * len(sentences)))
    drawn = set(order[:cut].tolist())
    rest = [s for i, s in enumerate(sentences) if i not in drawn]
    return rest, [sentences[i] for i in sorted(drawn)]
