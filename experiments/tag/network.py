"""The taggers that are compared, and how each is trained."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from experiments.common import cli
from experiments.common.cells import factory_of
from experiments.common.epochs import Lesson
from experiments.common.labelling import make_cells, make_lesson, make_predict
from experiments.tag.config import DIRECTIONS, OUTPUTS, Config
from experiments.tag.features import Readers
from experiments.tag.text import Text
from seqjax.data.sets.columns import TaggedSentence
from seqjax.metrics import chunk_f1
from seqjax.models import Feature, SequenceTagger
from seqjax.training.labelling import tag_losses
from seqjax.types import Array, Params

SIZES = {"given": 32, "case": 8, "letters": 24}  # of vectors; a suffix's follows
SUFFIX_SIZE = 32
LETTER_UNITS = 32  # in each direction


class Kind(NamedTuple):
    """What tells a network from the others of a run."""

    direction: str
    output: str

    def name(self, cell: str) -> str:
        both = "bidirectional " if self.direction == "both" else ""
        return f"{both}{cell}{', CRF' if self.output == 'crf' else ''}"


def kinds(config: Config) -> Iterator[Kind]:
    """The networks of a run, each to be trained from every seed."""
    for direction in cli.chosen("--directions", config.directions, DIRECTIONS):
        for output in cli.chosen("--output", config.output, OUTPUTS):
            yield Kind(direction, output)


def make_model(
    config: Config,
    kind: Kind,
    readers: Readers,
    num_tags: int,
    *,
    vectors: np.ndarray | None = None,
    size: int = 0,
    seed: int = 0,
) -> SequenceTagger:
    """An untrained network, with word vectors of a size that is not the config's, or given."""
    sizes = [size or config.word_size(vectors)]
    sizes += [SIZES.get(name, SUFFIX_SIZE) for name in readers.names[1:]]
    features = [Feature(len(v), s) for v, s in zip(readers.values, sizes, strict=True)]
    reads_letters = bool(readers.letters)
    return SequenceTagger(
        features,
        num_tags,
        make_cells(config),
        letters=Feature(len(readers.letters) + 1, SIZES["letters"]) if reads_letters else None,
        letter_cell=factory_of(config.cell)(LETTER_UNITS) if reads_letters else None,
        bidirectional=kind.direction == "both",
        connections=config.connections,
        dropout=config.dropout,
        transitions=kind.output == "crf",
        vectors=vectors,
        rngs=nnx.Rngs(seed),
    )


def objective(
    model: SequenceTagger, inputs: dict[str, Array], lengths: Array, tags: Array, key: Array
) -> tuple[Array, dict[str, Array]]:
    """The loss of each sentence in nats."""
    emissions = model(
        inputs["features"],
        lengths,
        letters=inputs.get("letters"),
        dropout_key=key if model.stack.dropout.rate else None,
    )
    return tag_losses(emissions, tags, lengths, model.transitions()), {}


def best_tags(model: SequenceTagger, inputs: dict[str, Array], lengths: Array) -> Array:
    emissions = model(inputs["features"], lengths, letters=inputs.get("letters"))
    return model.best_tags(emissions, lengths)


class Trainee(NamedTuple):
    lesson: Lesson
    given: Any  # `(params, examples) -> [N, T]`, the tags' places


def make_trainee(config: Config, kind: Kind, text: Text, seed: int) -> Trainee:
    """A network and what is needed to train and to ask it."""
    model = make_model(config, kind, text.readers, len(text.tags), vectors=text.vectors, seed=seed)
    given = make_predict(model, best_tags, text.sets.tops, by_step=True)

    def evaluate(params: Params) -> dict[str, float]:
        names = named(given(params, text.sets.validation), text.splits.validation, text.tags)
        return scores(text.splits.validation, names, chunks=text.has_chunks())

    return Trainee(make_lesson(config, model, objective, text.sets, evaluate, seed=seed), given)


def named(
    places: np.ndarray, sentences: Sequence[TaggedSentence], tags: Sequence[str]
) -> list[list[str]]:
    """The names of the tags `[N, T]` of some sentences, each as long as the sentence."""
    return [
        [tags[place] for place in row[: len(sentence.words)]]
        for row, sentence in zip(places, sentences, strict=True)
    ]


def scores(
    sentences: Sequence[TaggedSentence], given: Sequence[Sequence[str]], *, chunks: bool
) -> dict[str, float]:
    """The share of right tags; before it, where tags mark chunks, their F1, lenient and strict."""
    truth = [sentence.tags for sentence in sentences]
    right = [
        a == b
        for true_tags, tags in zip(truth, given, strict=True)
        for a, b in zip(true_tags, tags, strict=True)
    ]
    found = {"accuracy": float(np.mean(right))}
    if not chunks:
        return found
    return {
        "f1": chunk_f1(truth, given),
        "strict_f1": chunk_f1(truth, given, strict=True),
    } | found
