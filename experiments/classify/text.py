"""The sentences of a classifier, as words and as arrays."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from experiments.classify.config import Config
from experiments.common.labelling import Sets, make_sets
from experiments.common.words import first_vectors, frequent, ids, places, with_vectors
from seqjax.data.orders import padded
from seqjax.data.sets.sentences import LabelledSplits, Sentence, load_sentences
from seqjax.tasks.sentiment import LABELS, sentiment
from seqjax.training.labelling import Labelled


class Text(NamedTuple):
    splits: LabelledSplits
    tokens: list[str]  # a word's id is its place; 0 is <unk>
    sets: Sets
    vectors: np.ndarray | None  # [V, E] float32, the first values of the embedding

    def sizes(self) -> tuple[int, int, int]:
        """The numbers of training, validation and test sentences."""
        train, validation, test = map(len, self.splits[:3])
        return train, validation, test

    def identity(self) -> dict[str, Any]:
        """What a saved network cannot be read without, and must have been trained on."""
        digest = hashlib.sha256(repr(self.splits).encode("utf-8", "surrogatepass")).hexdigest()
        size = 0 if self.vectors is None else self.vectors.shape[1]
        return {
            "text": digest,
            "tokens": self.tokens,
            "labels": list(self.splits.labels),
            "vector_size": size,  # of the embedding, where --embedding_size does not say
        }


def load_text(config: Config) -> Text:
    """The sentences that the config names."""
    splits = _cut(_splits(config), config.max_length)
    words = (word for sentence in splits.train for word in sentence.words)
    if config.vectors:
        counted = frequent(words, min_count=config.min_count)
        seen = (word for split in splits[:3] for sentence in split for word in sentence.words)
        tokens = with_vectors(config.vectors, counted, seen)
        vectors = first_vectors(config.vectors, tokens, seed=config.seed)
    else:
        tokens, vectors = frequent(words, min_count=config.min_count), None
    table = places(tokens)
    train, validation, test = (_arrays(split, splits.labels, table) for split in splits[:3])
    return Text(splits, tokens, make_sets(train, validation, test), vectors)


def _splits(config: Config) -> LabelledSplits:
    if config.data != "grammar":
        return load_sentences(config.data)
    sizes = (config.examples, 1000, 2000)
    drawn = [
        [Sentence(*s) for s in sentiment(size, clauses=config.clauses, seed=seed)]
        for seed, size in enumerate(sizes)
    ]
    return LabelledSplits(drawn[0], drawn[1], drawn[2], LABELS)


def _cut(splits: LabelledSplits, max_length: int) -> LabelledSplits:
    if not max_length:
        return splits
    train, validation, test = (
        [s._replace(words=s.words[:max_length]) for s in split] for split in splits[:3]
    )
    return LabelledSplits(train, validation, test, splits.labels)


def _arrays(sentences: list[Sentence], labels: tuple[str, ...], table: dict[str, int]) -> Labelled:
    rows = [ids(sentence.words, table) for sentence in sentences]
    return Labelled(
        padded(rows),
        np.array([len(row) for row in rows], np.int32),
        np.array([labels.index(sentence.label) for sentence in sentences], np.int32),
    )
