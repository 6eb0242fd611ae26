"""The networks that are compared, and how each is trained."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments.classify.config import DIRECTIONS, Config
from experiments.classify.text import Text
from experiments.common import cli
from experiments.common.epochs import Lesson
from experiments.common.labelling import make_cells, make_lesson, make_predict
from seqjax.layers.pooling import POOLINGS
from seqjax.models import SequenceClassifier
from seqjax.training.labelling import Labelled, label_losses
from seqjax.types import Array, Params


class Kind(NamedTuple):
    """What tells a network from the others of a run."""

    direction: str
    pooling: str

    def name(self, cell: str) -> str:
        return f"{'bidirectional ' if self.direction == 'both' else ''}{cell}, {self.pooling}"


def kinds(config: Config) -> Iterator[Kind]:
    """The networks of a run, each to be trained from every seed."""
    for direction in cli.chosen("--directions", config.directions, DIRECTIONS):
        for pooling in cli.chosen("--pooling", config.pooling, POOLINGS):
            yield Kind(direction, pooling)


def make_model(
    config: Config,
    kind: Kind,
    vocab_size: int,
    num_classes: int,
    *,
    vectors: np.ndarray | None = None,
    size: int = 0,
    seed: int = 0,
) -> SequenceClassifier:
    """An untrained network, with word vectors of a size that is not the config's, or given."""
    return SequenceClassifier(
        vocab_size,
        num_classes,
        make_cells(config),
        embedding_size=size or config.word_size(vectors),
        pooling=kind.pooling,
        bidirectional=kind.direction == "both",
        connections=config.connections,
        dropout=config.dropout,
        vectors=vectors,
        rngs=nnx.Rngs(seed),
    )


def objective(
    model: SequenceClassifier, inputs: Array, lengths: Array, labels: Array, key: Array
) -> tuple[Array, dict[str, Array]]:
    """The loss of each row in nats, and whether its label is right."""
    logits = model(inputs, lengths, dropout_key=key if model.stack.dropout.rate else None)
    right = logits.argmax(-1) == labels[:, 0]
    return label_losses(logits, labels[:, 0]), {"accuracy": right}


class Trainee(NamedTuple):
    lesson: Lesson
    probabilities: Any  # `(params, examples) -> [N, C]`


def make_trainee(config: Config, kind: Kind, text: Text, seed: int) -> Trainee:
    """A network and what is needed to train and to ask it."""
    sizes = len(text.tokens), len(text.splits.labels)
    model = make_model(config, kind, *sizes, vectors=text.vectors, seed=seed)
    probabilities = make_predict(model, probabilities_of, text.sets.tops, by_step=False)

    def evaluate(params: Params) -> dict[str, float]:
        return scores(probabilities(params, text.sets.validation), text.sets.validation)

    lesson = make_lesson(config, model, objective, text.sets, evaluate, seed=seed)
    return Trainee(lesson, probabilities)


def probabilities_of(model: SequenceClassifier, inputs: Array, lengths: Array) -> Array:
    return jax.nn.softmax(model(inputs, lengths))


def scores(probabilities: np.ndarray, examples: Labelled) -> dict[str, float]:
    """The share of right labels, and the mean loss in nats."""
    right = probabilities.argmax(1) == examples.labels
    of_labels = probabilities[np.arange(len(right)), examples.labels]
    losses = -np.log(np.maximum(of_labels, 1e-12))
    return {"accuracy": float(right.mean()), "loss": float(losses.mean())}
