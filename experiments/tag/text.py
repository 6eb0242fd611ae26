"""The sentences of a tagger, as words and as arrays."""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.labelling import Sets, make_sets
from experiments.common.words import first_vectors, with_vectors
from experiments.tag.config import Config
from experiments.tag.features import Readers, make_readers
from seqjax.data.orders import padded
from seqjax.data.sets.columns import TaggedSentence, read_columns, read_conllu
from seqjax.data.text import SPLIT_WORDS
from seqjax.errors import InputError
from seqjax.tasks.hmm import HMM, Tagged, random_hmm, sample_hmm
from seqjax.training.labelling import Labelled

HMM_SEED = 2
HELD_OUT = 1000  # sentences at the end of training, where there is no validation file


class Splits(NamedTuple):
    train: list[TaggedSentence]
    validation: list[TaggedSentence]
    test: list[TaggedSentence]


class Text(NamedTuple):
    splits: Splits
    tags: list[str]  # of the training sentences, sorted
    readers: Readers
    sets: Sets
    vectors: np.ndarray | None  # [V, E] float32, the first values of the words' embedding
    hmm: HMM | None  # where the sentences are from

    def has_chunks(self) -> bool:
        """Whether the tags mark chunks, B-X and I-X."""
        return any(tag.startswith("B-") for tag in self.tags)

    def sizes(self) -> tuple[int, int, int]:
        """The numbers of training, validation and test sentences."""
        train, validation, test = map(len, self.splits)
        return train, validation, test

    def identity(self) -> dict[str, Any]:
        """What a saved network cannot be read without, and must have been trained on."""
        digest = hashlib.sha256(repr(self.splits).encode("utf-8", "surrogatepass")).hexdigest()
        return {
            "text": digest,
            "tags": self.tags,
            "vector_size": 0 if self.vectors is None else self.vectors.shape[1],
        } | self.readers.identity()


def load_text(config: Config) -> Text:
    """The sentences that the config names."""
    hmm = random_hmm(seed=HMM_SEED) if config.data == "hmm" else None
    splits = _from_hmm(hmm, config.examples) if hmm else load_splits(config.data, config.column)
    tags = sorted({tag for sentence in splits.train for tag in sentence.tags})
    wanted = [name for name in config.features.replace(" ", "").split(",") if name]
    wanted = ["word", *(name for name in wanted if name != "word")]
    if not config.features and not hmm:
        wanted += ["suffix", "case"]
    if "given" in wanted and not splits.train[0].given:
        raise InputError(f"features=given: data={config.data} has no third column to give.")
    readers = make_readers(splits.train, wanted, min_count=config.min_count)
    vectors = None
    if config.vectors:
        seen = (word for split in splits for sentence in split for word in sentence.words)
        words = with_vectors(config.vectors, readers.values[0], seen)
        readers = readers._replace(values=[words, *readers.values[1:]])
        vectors = first_vectors(config.vectors, words, seed=config.seed)
    train, validation, test = (_arrays(split, tags, readers) for split in splits)
    return Text(splits, tags, readers, make_sets(train, validation, test), vectors, hmm)


def load_splits(source: str, column: str) -> Splits:
    """The files of a folder whose names say train, dev (valid) and test.

    Where there is no validation file, the last 1,000 training sentences are it.

    Raises:
      InputError: if a file is missing or cannot be read.
    """
    files: dict[str, Path] = {}
    folder = Path(source).expanduser()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        for word in re.split(r"[^a-z]+", path.name.lower()):
            if word in SPLIT_WORDS:
                files.setdefault(SPLIT_WORDS[word], path)
    if not {"train", "test"} <= set(files):
        raise InputError(f"data={source}: give a folder with files whose names say train and test.")
    read = {split: _read(path, column) for split, path in files.items()}
    train = read["train"]
    if "validation" not in read:
        cut = min(HELD_OUT, len(train) // 5)
        train, read["validation"] = train[:-cut], train[-cut:]
    if not train or not read["validation"]:
        raise InputError(f"data={source} has only {len(read['train'])} training sentences.")
    return Splits(train, read["validation"], read["test"])


def _read(path: Path, column: str) -> list[TaggedSentence]:
    if ".conllu" in path.name:
        return read_conllu(path, column=column)
    sentences = read_columns(path, given=-2)
    if all(sentence.given == sentence.words for sentence in sentences):  # there are two columns
        return [sentence._replace(given=()) for sentence in sentences]
    return sentences


def unseen_tags(text: Text) -> set[str]:
    """Tags of held-out sentences that no training sentence has; no network can give them."""
    held_out = text.splits.validation + text.splits.test
    return {tag for sentence in held_out for tag in sentence.tags} - set(text.tags)


def _from_hmm(hmm: HMM, examples: int) -> Splits:
    sizes = (examples, 1000, 3000)
    drawn = (
        sample_hmm(hmm, size, shortest=5, longest=20, seed=seed) for seed, size in enumerate(sizes)
    )
    train, validation, test = map(_sentences, drawn)
    return Splits(train, validation, test)


def _sentences(tagged: Tagged) -> list[TaggedSentence]:
    return [
        TaggedSentence(
            tuple(f"word{w}" for w in words[:length]), tuple(f"tag{t}" for t in tags[:length]), ()
        )
        for words, tags, length in zip(*tagged, strict=True)
    ]


def tagged_by_hmm(sentences: list[TaggedSentence]) -> Tagged:
    """Sentences of an HMM as the numbers they were drawn as."""
    words = [np.array([int(w[4:]) for w in s.words], np.int32) for s in sentences]
    tags = [np.array([int(t[3:]) for t in s.tags], np.int32) for s in sentences]
    return Tagged(padded(words), padded(tags), np.array([len(w) for w in words], np.int32))


def _arrays(sentences: list[TaggedSentence], tags: list[str], readers: Readers) -> Labelled:
    places = {tag: place for place, tag in enumerate(tags)}
    # (a tag that training never shows stands as the first: scores compare the tags themselves)
    labels = [np.array([places.get(tag, 0) for tag in s.tags], np.int32) for s in sentences]
    lengths = np.array([len(row) for row in labels], np.int32)
    return Labelled(readers.encode(sentences), lengths, padded(labels))
