"""The captioners that are compared, and how each is trained."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from experiments.caption.config import Config
from experiments.caption.images import END, PAD, START, UNK, Images, Split, new_scenes
from experiments.common.epochs import Lesson
from experiments.common.images import BLIND_SHARE, as_floats, exchanged, make_ask, make_encoder
from experiments.common.labelling import Sets, make_cells, make_lesson
from seqjax.data.buckets import bucket_tops
from seqjax.decode import beam_search, generate
from seqjax.models import Captioner
from seqjax.training.labelling import Labelled
from seqjax.training.scheduled_sampling import mix_tokens
from seqjax.training.translation import target_losses
from seqjax.types import Array, Params

TOPS = 2  # lengths that programs are compiled for


def make_model(config: Config, way: str, images: Images, *, seed: int) -> Captioner:
    """An untrained captioner of such images."""
    rngs = nnx.Rngs(seed)
    encoder, shape = None, images.train.images.shape[1:]
    if images.pixels():
        encoder = make_encoder(images.train.images, rngs)
        shape = encoder.grid(shape[0], shape[1])
    return Captioner(
        len(images.words),
        make_cells(config),
        features=shape,
        embedding_size=config.embedding_size,
        entry="step" if way == "blind" else way,
        encoder=encoder,
        connections=config.connections,
        dropout=config.dropout,
        tie_weights=config.tie_weights,
        rngs=rngs,
    )


def objective(
    mean_length: float,
    teacher_forcing: float,
    model: Captioner,
    inputs: dict[str, Array],
    lengths: Array,
    labels: Array,
    key: Array,
) -> tuple[Array, dict[str, Array]]:
    """The nats of each caption, for each word of one of mean length; of several of an image, their mean."""
    keys: Any = jax.random.split(key) if model.drop.rate else (None, None)
    found = model.look(as_floats(inputs["image"]), dropout_key=keys[0])
    tokens = inputs["tokens"]
    if tokens.ndim == 3:  # [B, T, K]
        count = tokens.shape[2]
        found = jax.tree.map(lambda a: jnp.repeat(a, count, 0), found)
        tokens, labels = (jnp.moveaxis(a, 2, 1).reshape(-1, a.shape[1]) for a in (tokens, labels))
    if teacher_forcing < 1:  # scheduled sampling (Bengio et al., 2015), of a constant share
        context, state = found
        mix_key = jax.random.fold_in(key, 1)
        step = partial(model.decoder.step, context)
        tokens = mix_tokens(step, state, tokens, mix_key, probability=teacher_forcing)
    logits = model.decoder(*found, tokens, dropout_key=keys[1])[1]
    losses = target_losses(logits, labels, pad=PAD) / mean_length
    return losses.reshape(len(lengths), -1).mean(1), {}


def caption_losses(model: Captioner, inputs: dict[str, Array]) -> Array:
    """The nats of each caption `[B]`."""
    logits = model(as_floats(inputs["image"]), inputs["tokens"])
    return target_losses(logits, inputs["labels"], pad=PAD)


def explained(model: Captioner, inputs: dict[str, Array]) -> dict[str, Array]:
    """Of captions `tokens [B, T]`: their log-probabilities `[B]`, and what attention read, `[B, T, S]`."""
    context, state = model.look(as_floats(inputs["image"]))
    tokens = inputs["tokens"]
    read = jnp.concatenate([jnp.full((len(tokens), 1), START, tokens.dtype), tokens[:, :-1]], 1)

    def advance(state: Any, both: tuple[Array, Array]) -> tuple[Any, tuple[Array, Any]]:
        token, written = both
        state, logits, weights = model.decoder.step_with_weights(context, state, token)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), written[:, None], 1)[:, 0]
        return state, (log_p, weights)

    _, (log_p, weights) = lax.scan(advance, state, (read.T, tokens.T))
    ended = jnp.cumsum(tokens == END, 1) - (tokens == END)  # at the first end, that is still told
    found = {"log_probs": jnp.where(ended > 0, 0, log_p.T).sum(1)}
    return found if weights is None else found | {"maps": jnp.swapaxes(weights, 0, 1)}


class Trainee(NamedTuple):
    lesson: Lesson
    nats: Callable[[Params, Split], np.ndarray]  # [M], of each caption
    write: Callable[..., np.ndarray]  # see `make_writer`
    explain: Callable[[Params, Any], dict[str, np.ndarray]]  # see `explained`


def make_trainee(config: Config, way: str, images: Images, seed: int) -> Trainee:
    """A captioner and what is needed to train and to ask it."""
    model = make_model(config, way, images, seed=seed)
    blind = way == "blind"
    if blind:
        config = dataclasses.replace(config, epochs=max(1, config.epochs // BLIND_SHARE))
    train, validation, test = (
        exchanged(split.examples, seed) if blind else split.examples for split in images[2:]
    )
    lengths = np.asarray(train.lengths)
    tops = tuple(sorted({*map(int, bucket_tops(lengths, TOPS)), train.labels.shape[1]}))
    losses = make_ask(model, caption_losses)

    def nats(params: Params, split: Split) -> np.ndarray:
        examples = exchanged(split.examples, seed) if blind else split.examples
        inputs = {**examples.inputs, "labels": examples.labels}
        return losses(params, inputs)

    def evaluate(params: Params) -> dict[str, float]:
        found = float(nats(params, images.validation).mean())
        return {"log_likelihood": -found}

    write = make_writer(config, model)

    def sample(params: Params) -> str:
        few = images.validation._replace(images=images.validation.images[:3])
        given = write(params, few.images, width=1)
        said = [row[0] for row in images.validation.captions[:3]]
        return "\n".join(
            f"  {images.decode(a)}   (one said: {b})" for a, b in zip(given, said, strict=True)
        )

    def train_of(epoch: int) -> Labelled:
        examples = new_scenes(config, images.words, epoch)
        return exchanged(examples, seed + epoch) if blind else examples

    lesson = make_lesson(
        config,
        model,
        partial(objective, float(lengths.mean()), config.teacher_forcing),
        Sets(train, validation, test, tops),
        evaluate,
        seed=seed,
        whole=("image",),
        train_of=train_of if images.test.scenes else None,
        sample=sample,
    )
    return Trainee(lesson, nats, write, make_ask(model, explained))


def make_writer(config: Config, model: Captioner) -> Callable[..., np.ndarray]:
    """Builds `write(params, images, width=K)`, or `(..., sample=True)`, `-> tokens [N, T]`."""

    def best(width: int, model: Captioner, images: Array) -> Array:
        context, state = model.look(as_floats(images))
        first = jnp.full(len(images), START)
        found = beam_search(
            model.step,
            context,
            state,
            first,
            width=width,
            length=config.max_length + 1,
            end=END,
            forbidden=(PAD, START, UNK),
            length_penalty=config.length_penalty,
        )
        return found.tokens[:, 0]

    def drawn(model: Captioner, images: Array) -> Array:
        context, state = model.look(as_floats(images))

        def step(both: Any, token: Array) -> tuple[Any, Array]:
            context, state = both
            state, logits = model.step(context, state, token)
            return (context, state), logits.at[jnp.array([PAD, START, UNK])].set(-jnp.inf)

        prime = jnp.full((len(images), 1), START)
        key = jax.random.key(config.seed)
        return generate(step, (context, state), prime, key, length=config.max_length + 1)

    ways: dict[Any, Any] = {}

    def write(
        params: Params, images: np.ndarray, *, width: int = 1, sample: bool = False
    ) -> np.ndarray:
        name = "sample" if sample else width
        if name not in ways:
            function = drawn if sample else partial(best, width)
            ways[name] = make_ask(model, function)
        return ways[name](params, images)

    return write
