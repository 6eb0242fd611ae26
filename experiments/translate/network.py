"""The networks that are compared, and how each is trained."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common import cli
from experiments.common.epochs import Lesson
from experiments.common.labelling import make_cells, make_lesson
from experiments.translate.config import READS, Config
from experiments.translate.decoding import make_translate, texts_of
from experiments.translate.scores import scores_of
from experiments.translate.text import Text
from seqjax.data.orders import order_of_pairs
from seqjax.data.tokens import PAD
from seqjax.models import EncoderDecoder
from seqjax.training.scheduled_sampling import mix_tokens
from seqjax.training.translation import target_losses
from seqjax.types import Array, Params

SHOWN = 3  # translations after each epoch


class Kind(NamedTuple):
    """What tells a network from the others of a run."""

    attention: str  # one of READS

    def name(self) -> str:
        if self.attention in ("none", "context"):
            return {"none": "one vector", "context": "one vector, at every step"}[self.attention]
        return f"{self.attention} attention"


def kinds(config: Config) -> Iterator[Kind]:
    """The networks of a run, each to be trained from every seed."""
    yield from map(Kind, cli.chosen("--attention", config.attention, READS))


def make_model(config: Config, kind: Kind, sizes: tuple[int, int], *, seed: int) -> EncoderDecoder:
    """An untrained network of two vocabularies of some sizes."""
    with_summary = kind.attention == "context"
    return EncoderDecoder(
        *sizes,
        make_cells(config),
        make_cells(config),
        embedding_size=config.embedding_size,
        bidirectional=config.bidirectional,
        reverse_source=config.reverse_source,
        bridge="context" if with_summary else config.bridge,
        attention="none" if with_summary else kind.attention,
        connections=config.connections,
        dropout=config.dropout,
        tie_weights=config.tie_weights,
        rngs=nnx.Rngs(seed),
    )


def lengths_of(rows: Array) -> Array:
    """How many tokens each row `[B, T]` has before its padding."""
    return (rows != PAD).sum(-1)


def objective(
    config: Config,
    mean_length: float,
    model: EncoderDecoder,
    inputs: dict[str, Array],
    lengths: Array,
    labels: Array,
    key: Array,
) -> tuple[Array, dict[str, Array]]:
    """The loss of each pair, in nats for each token of a pair of mean length; and the tokens' accuracy."""
    source, tokens = inputs["source"], inputs["target"]
    source_lengths = lengths_of(source)
    drop_key, mix_key = jax.random.split(key)
    if config.teacher_forcing < 1:
        context, state = model.encode(source, source_lengths)
        step = partial(model.step, context)
        p = config.teacher_forcing
        tokens = mix_tokens(step, state, tokens, mix_key, probability=p)
    dropout_key = drop_key if config.dropout else None
    logits = model(source, source_lengths, tokens, dropout_key=dropout_key)
    losses = target_losses(logits, labels, pad=PAD, label_smoothing=config.label_smoothing)
    valid = labels != PAD
    right = ((logits.argmax(-1) == labels) & valid).sum(-1) / jnp.maximum(valid.sum(-1), 1)
    return losses / mean_length, {"token_accuracy": right}


class Trainee(NamedTuple):
    lesson: Lesson
    model: EncoderDecoder
    translate: Any  # `(params, examples) -> [N, T]` tokens, greedily


def make_trainee(config: Config, kind: Kind, text: Text, seed: int) -> Trainee:
    """A network and what is needed to train it."""
    sizes = text.source.get_vocab_size(), text.target.get_vocab_size()
    model = make_model(config, kind, sizes, seed=seed)
    greedy = make_translate(model, text.sets.tops, width=1, length=config.max_length)
    validation, pairs = text.sets.validation, text.splits.validation

    def evaluate(params: Params) -> dict[str, float]:
        given = texts_of(text.target, greedy(params, validation))
        return scores_of([pair.target for pair in pairs], given, exact=text.exact)

    def sample(params: Params) -> str:
        first = jax.tree.map(lambda a: a[:SHOWN], validation)
        given = texts_of(text.target, greedy(params, first))
        return "\n".join(f"  {a.source} -> {b}" for a, b in zip(pairs, given, strict=False))

    train = text.sets.train
    lengths = [(np.asarray(train.inputs[side]) != PAD).sum(1) for side in ("source", "target")]

    def order(epoch: int) -> np.ndarray:
        source, target = lengths
        return order_of_pairs(
            source, target, config.batch_size, order=config.order, seed=seed, epoch=epoch
        )

    mean_length = float((np.asarray(train.labels) != PAD).sum(1).mean())
    loss = partial(objective, config, mean_length)
    how: dict[str, Any] = {"seed": seed, "order": order, "sample": sample}
    lesson = make_lesson(config, model, loss, text.sets, evaluate, **how)
    return Trainee(lesson, model, greedy)
