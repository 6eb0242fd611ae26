"""What the programs that train networks to label share: their flags, their updates, their batches."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common import cli
from experiments.common.cells import cell_option, factory_of
from experiments.common.devices import devices_option
from experiments.common.epochs import Lesson
from seqjax.data.buckets import bucket_tops
from seqjax.data.orders import order_by_length, take
from seqjax.devices.mesh import batch_mesh, over_devices, replicate
from seqjax.errors import (
    InputError,
    check_fraction,
    check_not_negative,
    check_positive,
    check_rate,
)
from seqjax.layers.stack import CONNECTIONS
from seqjax.runs.sinks import sinks_of
from seqjax.training.labelling import Labelled, at_length
from seqjax.training.modules import merge_model, split_model
from seqjax.training.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from seqjax.training.step import init_train_state, make_train_step, make_train_steps
from seqjax.types import Array, Cell, Params

BUCKETS = 3  # lengths that programs are compiled for, where nothing else is said
EMBEDDING_SIZE = 32  # of a word, where no flag says

# `(model, inputs, lengths, labels [B, T or 1], key) -> (losses [B], scores, each [B])`
Objective = Callable[[Any, Any, Array, Array, Array], tuple[Array, dict[str, Array]]]


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The flags of every program that compares recurrent networks, trained by epochs."""

    cell: str = cell_option()
    hidden_size: int = cli.option(64, "number of units of each layer, in each direction")
    layers: int = cli.option(1, "number of recurrent layers")
    connections: str = cli.option(
        "plain", "what goes round each layer but the lowest", choices=CONNECTIONS
    )
    dropout: float = cli.option(0.0, "share of units dropped on non-recurrent connections")
    optimizer: str = cli.option("adam", "optimizer of Optax", choices=OPTIMIZERS)
    learning_rate: float = cli.option(5e-3, "learning rate")
    schedule: str = cli.option("cosine", "schedule of the learning rate", choices=SCHEDULES)
    decay_after: int = cli.option(1, "epochs at the full learning rate, for --schedule=step")
    decay_factor: float = cli.option(0.7, "factor at each later epoch, for --schedule=step")
    weight_decay: float = cli.option(0.0, "weight decay, for --optimizer=adamw")
    clip_norm: float = cli.option(
        5.0, "norm to which a larger gradient is scaled down; 0 for no clipping"
    )
    batch_size: int = cli.option(32, "number of sentences in a batch")
    devices: int = devices_option()
    epochs: int = cli.option(8, "number of passes over the training sentences")
    seeds: int = cli.option(1, "number of networks of each kind, from different seeds")
    seed: int = cli.option(0, "the first seed")
    nonfinite: str = cli.option(
        "skip",
        "what to do with an update whose loss or gradient is not finite",
        choices=("skip", "stop"),
    )
    log_to: str = cli.log_to_option()
    save_seconds: float = cli.option(
        300.0, "longest time between saves, in seconds; 0: after epochs only", may_differ=True
    )

    def __post_init__(self) -> None:
        for name in ("hidden_size", "layers", "batch_size", "epochs", "seeds"):
            check_positive(f"--{name}", getattr(self, name))
        check_not_negative("--devices", self.devices)
        check_positive("--layers", self.layers, at_most=64)
        check_positive("--hidden_size", self.hidden_size, at_most=2**16)
        if self.devices and self.batch_size % self.devices:
            raise InputError(
                f"--batch_size={self.batch_size} cannot be shared by --devices={self.devices}."
            )
        check_positive("--seeds", self.seeds, at_most=1000)
        sinks_of(self.log_to)
        check_fraction("--dropout", self.dropout)
        check_rate("--learning_rate", self.learning_rate)
        for name in ("clip_norm", "decay_after", "weight_decay", "save_seconds"):
            check_not_negative(f"--{name}", getattr(self, name))
        cli.check_seed(self.seed, self.seeds)
        check_rate("--decay_factor", self.decay_factor)
        if self.weight_decay and self.optimizer != "adamw":
            raise InputError(f"--weight_decay needs --optimizer=adamw, got {self.optimizer!r}.")


@dataclasses.dataclass(frozen=True)
class LabellingConfig(NetworkConfig):
    """... to label."""

    embedding_size: int = cli.option(
        0, f"size of a word's vector, without --vectors; 0: {EMBEDDING_SIZE}"
    )
    vectors: str = cli.option("", "path to word vectors (npz, or GloVe's text); none if empty")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("--embedding_size", self.embedding_size)
        check_positive("--embedding_size", self.embedding_size or 1, at_most=2**16)
        if self.vectors and self.embedding_size:
            raise InputError("give --vectors or --embedding_size, not both.")

    def word_size(self, vectors: np.ndarray | None) -> int:
        """The size of a word's vector."""
        return vectors.shape[1] if vectors is not None else self.embedding_size or EMBEDDING_SIZE


def make_cells(config: Any) -> list[Cell]:
    """The layers of the network, bottom first; each is the same cell."""
    return [factory_of(config.cell)(config.hidden_size)] * config.layers


class Sets(NamedTuple):
    """Training and held-out examples, and the lengths that programs are compiled for."""

    train: Labelled
    validation: Labelled
    test: Labelled
    tops: tuple[int, ...]


def make_sets(
    train: Labelled, validation: Labelled, test: Labelled, *, buckets: int = BUCKETS
) -> Sets:
    """Examples of three splits, padded to one length; programs are compiled for so many lengths."""
    splits = [train, validation, test]
    longest = max(int(split.lengths.max()) for split in splits)
    same = [_lengthened(split, longest) for split in splits]
    tops = {int(top) for top in bucket_tops(np.asarray(train.lengths), buckets)}
    return Sets(same[0], same[1], same[2], tuple(sorted(tops | {longest})))


def _lengthened(split: Labelled, longest: int) -> Labelled:
    old = max(x.shape[1] for x in jax.tree.leaves(split.inputs))

    def longer(array: np.ndarray) -> np.ndarray:
        if array.ndim < 2 or array.shape[1] != old:
            return array
        return np.pad(array, [(0, 0), (0, longest - old)] + [(0, 0)] * (array.ndim - 2))

    return split._replace(
        inputs=jax.tree.map(longer, split.inputs), labels=longer(np.asarray(split.labels))
    )


def make_lesson(
    config: Any,
    model: nnx.Module,
    objective: Objective,
    sets: Sets,
    evaluate: Callable[[Params], dict[str, float]],
    *,
    seed: int,
    order: Callable[[int], np.ndarray] | None = None,
    whole: Sequence[str] = (),
    train_of: Callable[[int], Labelled] | None = None,
    sample: Callable[[Params], str] | None = None,
) -> Lesson:
    """How a model is trained on the training set.

    Args:
      config: with the fields of `LabellingConfig`.
      model: to begin with.
      objective: the loss is the mean of what it gives over the rows of a batch, `[B]`.
      sets: the examples.
      evaluate: scores on the validation set, the first of which chooses the best state.
      seed: of batches and masks.
      order: `epoch -> [ceil(N / B), B]`, the examples of each batch; by length, in pools, if None.
      whole: names of inputs that have no steps, such as a picture; `inputs` is a dict then.
      train_of: `epoch -> examples`, as many and as long as those of the training set, new ones in each epoch; the
        training set itself if None.
      sample: what is shown after each epoch.
    """
    split = split_model(model)
    mesh = batch_mesh(config.devices or 1)
    train = replicate(sets.train, mesh)
    steps_per_epoch = -(-len(train.lengths) // config.batch_size)
    schedule = make_schedule(
        config.schedule,
        config.learning_rate,
        num_steps=config.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        decay_after=config.decay_after,
        decay_factor=config.decay_factor,
    )
    optimizer = make_optimizer(
        config.optimizer, schedule, clip_norm=config.clip_norm, weight_decay=config.weight_decay
    )

    def loss_fn(params: Params, carry: Any, batch: Any, key: Array) -> tuple[Array, Any]:
        (inputs, lengths, labels), is_example = batch
        uncut = {name: inputs[name] for name in whole}
        if whole:
            inputs = {name: array for name, array in inputs.items() if name not in whole}
        inputs, tree = jax.tree.flatten(inputs)

        def at_top(*arrays: Array) -> tuple[Array, dict[str, Array]]:
            *parts, labels = arrays
            model = merge_model(split, params)
            cut = jax.tree.unflatten(tree, parts)
            return objective(model, cut | uncut if whole else cut, lengths, labels, key)

        by_step = labels if labels.ndim > 1 else labels[:, None]
        lengths = jnp.where(is_example, lengths, 0)
        losses, scores = at_length(sets.tops, lengths, at_top, *inputs, by_step)
        weights = is_example / jnp.maximum(is_example.sum(), 1)
        loss = (losses * weights).sum()
        means = {name: (value * weights).sum() for name, value in scores.items()}
        return loss, (carry, {"loss": loss, **means})

    def batch_at(data: tuple[Labelled, Array], step: Array) -> Any:
        return over_devices(take(*data, step), mesh)

    steps = make_train_steps(make_train_step(loss_fn, optimizer, seed), batch_at)

    def data_of(epoch: int) -> tuple[Labelled, np.ndarray]:
        if order is not None:
            return train, order(epoch)
        examples = train if train_of is None else replicate(train_of(epoch), mesh)
        lengths = np.asarray(examples.lengths)
        return examples, order_by_length(lengths, config.batch_size, seed=seed, epoch=epoch)

    state = replicate(init_train_state(split.params, optimizer), mesh)
    return Lesson(state, steps, data_of, steps_per_epoch, config.epochs, evaluate, sample)


def make_predict(
    model: nnx.Module,
    function: Callable[..., Array],
    tops: Sequence[int],
    *,
    by_step: bool,
    batch_size: int = 64,
) -> Callable[[Params, Labelled], np.ndarray]:
    """Builds `predict(params, examples) -> values`, in batches of similar lengths.

    Args:
      model: whose parameters are given.
      function: `(model, inputs, lengths) -> [B, ...]`, or `[B, T, ...]`.
      tops: lengths that are compiled for.
      by_step: whether there is a value for each step; the values are `[N, ...]` or `[N, T, ...]`.
      batch_size: B.
    """
    split = split_model(model)

    @jax.jit
    def apply(params: Params, inputs: Any, lengths: Array) -> Array:
        return function(merge_model(split, params), inputs, lengths)

    def predict(params: Params, examples: Labelled) -> np.ndarray:
        lengths = np.asarray(examples.lengths)
        longest = jax.tree.leaves(examples.inputs)[0].shape[1]
        compiled = np.array(sorted({*(top for top in tops if top < longest), longest}))
        order = np.argsort(lengths, kind="stable")
        pieces = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            filled = np.concatenate([rows, np.repeat(rows[-1:], batch_size - len(rows))])
            top = int(compiled[np.searchsorted(compiled, lengths[rows].max())])
            inputs = jax.tree.map(lambda a, f=filled, t=top: a[f][:, :t], examples.inputs)
            values = np.asarray(apply(params, inputs, lengths[filled]))[: len(rows)]
            if by_step:
                missing = [(0, 0), (0, longest - top)] + [(0, 0)] * (values.ndim - 2)
                values = np.pad(values, missing)
            pieces.append(values)
        return np.concatenate(pieces)[np.argsort(order)]

    return predict
