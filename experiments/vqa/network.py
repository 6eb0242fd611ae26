"""The networks that answer questions, and how each is trained."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments.common.epochs import Lesson
from experiments.common.images import BLIND_SHARE, as_floats, exchanged, make_ask, make_encoder
from experiments.common.labelling import Sets, make_cells, make_lesson
from experiments.vqa.config import Config
from experiments.vqa.questions import Asked, Questions, new_questions
from seqjax.models import QuestionAnswerer
from seqjax.training.labelling import Labelled, label_losses
from seqjax.types import Array, Params


def make_model(config: Config, way: str, questions: Questions, seed: int) -> QuestionAnswerer:
    """An untrained network."""
    rngs = nnx.Rngs(seed)
    rows, columns = questions.train.images.shape[1:3]
    encoder = make_encoder(questions.train.images, rngs)
    return QuestionAnswerer(
        len(questions.tokens),
        len(questions.answers),
        make_cells(config),
        features=encoder.grid(rows, columns),
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        fusion="product" if way == "blind" else way,
        encoder=encoder,
        connections=config.connections,
        dropout=config.dropout,
        rngs=rngs,
    )


def objective(
    model: QuestionAnswerer, inputs: dict[str, Array], lengths: Array, labels: Array, key: Array
) -> tuple[Array, dict[str, Array]]:
    """The loss of each question in nats, and whether its answer is right."""
    dropout_key = key if model.drop.rate else None
    images = as_floats(inputs["image"])
    logits = model(images, inputs["tokens"], lengths, dropout_key=dropout_key)
    return label_losses(logits, labels[:, 0]), {"accuracy": logits.argmax(-1) == labels[:, 0]}


def probabilities(model: QuestionAnswerer, inputs: dict[str, Array]) -> Array:
    """Of each answer `[B, C]`."""
    images = as_floats(inputs["image"])
    return jax.nn.softmax(model(images, inputs["tokens"], inputs["lengths"]))


class Trainee(NamedTuple):
    lesson: Lesson
    shares: Callable[[Params, Asked], np.ndarray]  # [N, C], the probability of each answer


def make_trainee(config: Config, questions: Questions, way: str, seed: int) -> Trainee:
    """A network and what is needed to train and to ask it."""
    if way == "blind":
        config = dataclasses.replace(config, epochs=max(1, config.epochs // BLIND_SHARE))
    model = make_model(config, way, questions, seed)
    ask = make_ask(model, probabilities)

    def seen(split: Asked) -> Labelled:
        return exchanged(split.examples, seed) if way == "blind" else split.examples

    def shares(params: Params, split: Asked) -> np.ndarray:
        examples = seen(split)
        return ask(params, {**examples.inputs, "lengths": examples.lengths})

    def evaluate(params: Params) -> dict[str, float]:
        found = shares(params, questions.validation)
        return {"accuracy": accuracies(found, questions.validation)["all"]}

    splits = [seen(split) for split in (questions.train, questions.validation, questions.test)]
    longest = splits[0].inputs["tokens"].shape[1]
    sets = Sets(splits[0], splits[1], splits[2], (longest,))
    how: dict[str, Any] = {"seed": seed, "whole": ("image",)}
    if questions.unseen is not None:

        def train_of(epoch: int) -> Labelled:
            examples = new_questions(config, questions.tokens, epoch)
            return exchanged(examples, seed + epoch) if way == "blind" else examples

        how["train_of"] = train_of
    return Trainee(make_lesson(config, model, objective, sets, evaluate, **how), shares)


def accuracies(shares: np.ndarray, split: Asked) -> dict[str, float]:
    """The share of right answers, of all questions and of each kind."""
    right = shares.argmax(1) == split.examples.labels
    found = {"all": float(right.mean())}
    kinds = np.array(split.kinds)
    for kind in dict.fromkeys(split.kinds):
        found[kind] = float(right[kinds == kind].mean())
    return found
