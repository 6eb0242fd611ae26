"""What the programs that train language models share: the network, its data, its rows of metrics."""

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import nnx

from experiments.common.cells import factory_of
from seqjax.data import Rows, TextSplits, Vocabulary, batch_at
from seqjax.data.shards import Piece, Windows, piece_batch
from seqjax.devices import batch_mesh
from seqjax.devices.processes import told
from seqjax.errors import InputError, check_fraction, check_not_negative, check_positive
from seqjax.models import LanguageModel
from seqjax.runs.session import Session
from seqjax.runs.sinks import sinks_of
from seqjax.training.fit import MOST_IN_A_ROW, Chunk
from seqjax.training.language_modelling import make_loss
from seqjax.training.modules import split_model
from seqjax.training.place import place_piece, place_training
from seqjax.training.step import (
    TrainState,
    fault_of,
    init_train_state,
    make_train_step,
    make_train_steps,
    roll_back,
)
from seqjax.types import Cell, Initializer
from seqjax.wrappers import candidate_dropout, naive_dropout, variational_dropout, weight_drop

RECURRENT_DROPOUT: dict[str, Callable[[Cell, float], Cell]] = {
    "variational": lambda cell, rate: variational_dropout(cell, states=rate),
    "weight_drop": weight_drop,
    "candidate": candidate_dropout,
    "naive": naive_dropout,
}


MOST_AT_ONCE = 50  # updates in one dispatch, of the programs that train language models


class Data(NamedTuple):
    """A text, ready to be trained on."""

    vocabulary: Vocabulary
    streams: Mapping[
        str, np.ndarray | range
    ]  # each split as ids; of shards, the positions for training
    rows: Rows | Windows  # for training; windows of a text in shards
    held_out: dict[str, Rows]  # the other splits
    digest: str  # of the text itself

    def updates_per_epoch(self, seq_len: int) -> int:
        """How many batches the training text has."""
        if isinstance(self.rows, Windows):
            return self.rows.per_epoch
        return self.rows.inputs.shape[1] // seq_len

    def identity(self) -> dict[str, Any]:
        """What must be the same when a run goes on, and what its model cannot be read without."""
        return {
            "text": self.digest,
            "unit": self.vocabulary.kind,
            "vocabulary": self.vocabulary.tokens,
        }


class Program(NamedTuple):
    """What a config compiles to."""

    graphdef: Any
    steps: Callable[[TrainState, Any, int], tuple[TrainState, Any]]
    schedule: optax.Schedule
    state: TrainState  # the first


def check_config(config: Any) -> None:
    """Raises InputError for a number out of range among what both programs have as flags."""
    for name in ("hidden_size", "layers", "seq_len", "batch_size"):
        check_positive(f"--{name}", getattr(config, name))
    check_not_negative("--devices", config.devices)
    check_positive("--layers", config.layers, at_most=64)
    check_positive("--hidden_size", config.hidden_size, at_most=2**16)
    sinks_of(config.log_to)
    for name in ("dropout", "recurrent_dropout"):
        check_fraction(f"--{name}", getattr(config, name))
    for name in ("save_seconds", "init_scale"):
        check_not_negative(f"--{name}", getattr(config, name))
    if config.spike_factor and not 1 < config.spike_factor < math.inf:
        raise InputError(
            f"--spike_factor must be above 1, or 0 for none, got {config.spike_factor}."
        )


def placed(config: Any, program: Program, data: Data) -> tuple[Program, Data]:
    """The first state and the training rows on the devices that share each batch.

    Of a text in shards, the updates read their rows themselves.
    """
    mesh, windows = batch_mesh(config.devices or 1), data.rows
    if isinstance(windows, Windows):
        state, _ = place_training(mesh, program.state, ())

        def steps(state: TrainState, windows: Windows, num_steps: int) -> tuple[TrainState, Any]:
            piece = place_piece(mesh, windows, int(state.step), num_steps, MOST_AT_ONCE)
            return program.steps(state, piece, num_steps)

        return program._replace(state=state, steps=steps), data
    state, rows = place_training(mesh, program.state, windows)
    return program._replace(state=state), data._replace(rows=rows)


def most_in_a_row(config: Any) -> int:
    """How many updates in a row may be not finite, as --nonfinite says."""
    return 0 if config.nonfinite == "stop" else MOST_IN_A_ROW


def digest_of(splits: TextSplits) -> str:
    """A SHA-256 sum that tells one text, with its splits, from every other."""
    texts = hashlib.sha256()
    for text in splits:
        texts.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return texts.hexdigest()


def make_program(
    config: Any,
    cell: Cell,
    vocab_size: int,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    initializer: Initializer | None,
) -> Program:
    """The network of a config, its first state and its updates.

    Args:
      config: has `layers`, `hidden_size`, `dropout`, `same_mask`, `recurrent_dropout`, `recurrent_mask`,
        `tie_weights`, `batch_size`, `seq_len`, `seed`.
      cell: of every layer.
      vocab_size: V.
      optimizer: with the schedule in it.
      schedule: the learning rate by step.
      initializer: draws the embedding and the head; the usual ones if None.
    """
    if config.recurrent_dropout:
        cell = RECURRENT_DROPOUT[config.recurrent_mask](cell, config.recurrent_dropout)
    model = LanguageModel(
        vocab_size,
        [cell] * config.layers,
        embedding_size=config.hidden_size,
        dropout=config.dropout,
        same_mask=config.same_mask,
        tie_weights=config.tie_weights,
        initializer=initializer,
        rngs=nnx.Rngs(config.seed),
    )
    split = split_model(model)
    steps = make_train_steps(
        make_train_step(make_loss(split.graphdef), optimizer, config.seed),
        lambda rows, step: (piece_batch if isinstance(rows, Piece) else batch_at)(
            rows, config.seq_len, step
        ),
    )
    carry = model.initial_state(config.batch_size)
    state = init_train_state(split.params, optimizer, carry)
    return Program(split.graphdef, steps, schedule, state)


def make_cell(name: str, hidden_size: int, draw: dict[str, Initializer]) -> Cell:
    """A cell with its initialisers replaced, as far as it has them: the IRNN is one itself."""
    factory = factory_of(name)
    has = inspect.signature(factory).parameters
    return factory(hidden_size, **{key: draw[key] for key in draw if key in has})


def go_back_from_spikes(session: Session, chunk: Chunk, factor: float) -> bool:
    """Puts the best state in the place of a chunk's whose loss is `factor` times the best; 0: never."""
    loss = told(lambda: chunk.metrics["loss"])  # of several processes, all decide alike
    if not loss > factor * session.best_loss > 0:
        return False
    best = session.best(chunk.state)
    session.say(
        f"step {chunk.step}: train {chunk.metrics['loss']:.4f} nats, back to step {int(best.step)}"
    )
    chunk.state = roll_back(chunk.state, best)
    return True


def say_skipped(session: Session, chunk: Chunk) -> None:
    """Prints how many updates were not applied, if new ones were not, and why the first was not."""
    if chunk.skipped:
        total, fault = int(chunk.state.skipped), fault_of(chunk.state)
        session.say(f"step {chunk.step}: {total} updates skipped: {fault}")
