"""Loads a run of `experiments.char_lm` and reads a text with it, keeping all that can be looked at."""

import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common import cli
from seqjax.cells import CELLS, lstm_variants
from seqjax.cells.lstm_variants import VARIANTS
from seqjax.data import TextSplits, Vocabulary, load_text
from seqjax.diagnose import gate_saturation, gates_of
from seqjax.errors import InputError, RunError, check_positive
from seqjax.files.json import LARGEST
from seqjax.files.text import read_text
from seqjax.models import LanguageModel
from seqjax.recurrence.unroll import unroll
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training.language_modelling import split_model
from seqjax.training.optimizers import OPTIMIZERS, make_optimizer
from seqjax.training.step import init_train_state
from seqjax.types import Array, Cell, Params, State

CANDIDATES = ("g", "n")  # of LSTM and GRU: stand beside the gates, but are none


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config of char_lm says of the shape of its checkpoints, and of its data."""

    cell: str = cli.option("lstm", "", choices=tuple(CELLS))
    layers: int = cli.option(1, "")
    hidden_size: int = cli.option(256, "")
    tie_weights: bool = cli.option(False, "")
    batch_size: int = cli.option(32, "")
    optimizer: str = cli.option("adam", "", choices=OPTIMIZERS)
    weight_decay: float = cli.option(0.0, "")
    clip_norm: float = cli.option(5.0, "")
    clip_value: float = cli.option(0.0, "")
    data: str = cli.option("stdlib", "")
    validation_fraction: float = cli.option(0.05, "")
    test_fraction: float = cli.option(0.0, "")
    max_chars: int = cli.option(0, "")

    def __post_init__(self) -> None:
        """Sizes are checked before anything of that size is made: the file may be a stranger's."""
        check_positive("layers of the checkpoint", self.layers, at_most=64)
        check_positive("hidden_size of the checkpoint", self.hidden_size, at_most=2**16)
        check_positive("batch_size of the checkpoint", self.batch_size, at_most=2**20)


class Loaded(NamedTuple):
    run: Run
    model: LanguageModel
    vocabulary: Vocabulary
    step: int  # updates it was trained for
    directory: Path  # of the run


class Reading(NamedTuple):
    """What a model does on a text of T characters; everything at t is after it has read t."""

    layers: list[dict[str, np.ndarray]]  # per layer: name of a quantity -> [T, H]
    saturation: list[dict[str, tuple[np.ndarray, np.ndarray]]]  # gate -> shares below, above [H]
    log_probs: np.ndarray  # [T, V], of the character at t + 1, in nats


def load(path: str) -> Loaded:
    """The best model of a run, or the newest if none is best.

    Args:
      path: a workdir of char_lm, or a directory of checkpoints in it.

    Raises:
      InputError: if there is no checkpoint, or it is not one of char_lm.
      RunError: if it is damaged.
    """
    directory = _find(path)
    checkpoints = Checkpoints(directory)
    record = checkpoints.read_record()
    config, tokens = record.get("config"), record.get("vocabulary")
    where = f"the checkpoint in {directory}"
    needed = ("cell", "hidden_size", "tie_weights", "optimizer")
    if not isinstance(config, dict) or any(name not in config for name in needed):
        raise InputError(
            f"--checkpoint={path} is no run of experiments.char_lm: its config names no"
            " cell, hidden_size, tie_weights and optimizer; look inside a character model."
        )
    run = Run(**cli.checked(Run, config, where))
    vocabulary = Vocabulary("char", tokens if isinstance(tokens, list) else [])
    cell = CELLS[run.cell](run.hidden_size)
    graphs = []

    def first_state() -> Any:
        model = LanguageModel(
            len(vocabulary),
            [cell] * run.layers,
            embedding_size=run.hidden_size,
            tie_weights=run.tie_weights,
            rngs=nnx.Rngs(0),
        )
        graphdef, params = split_model(model)
        graphs.append(graphdef)
        optimizer = make_optimizer(
            run.optimizer,
            lambda step: jnp.zeros(()),
            weight_decay=run.weight_decay,
            clip_norm=run.clip_norm,
            clip_value=run.clip_value,
        )
        return init_train_state(params, optimizer, model.initial_state(run.batch_size))

    state = checkpoints.restore(jax.eval_shape(first_state))
    checkpoints.close()
    inside = directory.parent.name == "checkpoints"
    model = nnx.merge(graphs[0], state.params)
    home = directory.parent.parent if inside else directory
    return Loaded(run, model, vocabulary, int(state.step), home)


def _find(path: str) -> Path:
    """The directory of checkpoints that a path means."""
    try:
        root = Path(path).expanduser()
        candidates = [root / "checkpoints" / "best", root / "checkpoints" / "last"]
        candidates += [root / "best", root / "last", root]
        return next((p for p in candidates if Checkpoints(p).exists()), root)
    except (OSError, RuntimeError, ValueError) as error:  # too long, nobody's home, a zero byte
        raise InputError(f"--checkpoint={path} is no path: {error}.") from error


def texts_of(loaded: Loaded, data: str = "") -> TextSplits | None:
    """The texts of the run's data; None if they have other characters than it was trained on.

    What the checkpoint says of its data is followed to the standard library only: it may be a
    stranger's, and name any file of this machine.

    Args:
      loaded: the run.
      data: where its data are, if not in the standard library.
    """
    run = loaded.run
    source = data or run.data
    if not data and run.data != "stdlib":
        return None
    try:
        splits = load_text(
            source,
            validation_fraction=run.validation_fraction,
            test_fraction=run.test_fraction,
            max_chars=run.max_chars,
        )
    except (InputError, RunError):
        return None
    known = set(loaded.vocabulary.tokens[1:])
    return splits if set(splits.train) == known else None


def choose_text(path: str, loaded: Loaded, own: TextSplits | None, limit: int) -> str:
    """The text to look at: a file's, or the run's own validation text; its first characters.

    Raises:
      InputError: if it has fewer than two characters, or a file has some that the model never
        saw; in the run's own text these are shown as U+FFFD, as the model reads them.
    """
    if not path:
        if own is None or len(own.validation) < 2:
            if own is not None:
                raise InputError("the run's data have no validation text: give --text=PATH.")
            raise InputError(
                f"the run was trained on {loaded.run.data}: give that as --data=PATH (if it has not"
                " changed), or any text as --text=PATH."
            )
        text = own.validation[:limit]
        return loaded.vocabulary.decode(loaded.vocabulary.encode(text).ids)
    text = read_text(Path(path), LARGEST)[:limit]
    if len(text) < 2:
        raise InputError(
            f"--text={path} must have two or more characters, one to read and one to predict, got"
            f" {len(text)}."
        )
    unseen = loaded.vocabulary.encode(text).unseen
    if unseen:
        shown = ", ".join(f"{c!r} {n}x" for c, n in unseen.most_common(5))
        raise InputError(
            f"--text={path} has characters that are not in the model's vocabulary:"
            f" {shown}{', ...' if len(unseen) > 5 else ''}; remove them, or give another text."
        )
    return text


def read(model: LanguageModel, cell_name: str, ids: np.ndarray) -> Reading:
    """Runs the model over a text, from the state of zeros.

    Args:
      model: as `load` gives it.
      cell_name: of its layers, a key of CELLS.
      ids: the text, integers `[T]`.

    Raises:
      RunError: if its predictions are not finite.
    """
    tokens = jnp.asarray(ids)
    graphdef, params = nnx.split(model)

    @jax.jit
    def run(params: Any, tokens: Array) -> tuple[list, list, Array]:
        model = nnx.merge(graphdef, params)
        xs, layers, saturation = model.embedding(tokens), [], []
        for layer in model.layers:
            cell, arrays = layer.cell, layer.arrays()
            gates = gates_by_name(cell_name, cell)
            layers.append(_watch(cell, gates, arrays, xs))
            found = {}
            if gates is not None:
                shares = gate_saturation(cell, arrays, xs, gates=gates)
                found = {
                    name: (getattr(shares.below, name), getattr(shares.above, name))
                    for name in shares.below._fields
                    if name not in CANDIDATES
                }
            saturation.append(found)
            xs = layers[-1]["h"]
        logits = model(tokens[None])[1][0]
        return layers, saturation, jax.nn.log_softmax(logits)

    layers, saturation, log_probs = jax.tree.map(np.asarray, run(params, tokens))
    if not np.isfinite(log_probs).all():
        raise RunError("the model's predictions on this text are not finite: it has diverged.")
    order = ("h", "c", "i", "f", "o", "r", "z", *CANDIDATES)  # jit sorts names
    layers = [dict(sorted(q.items(), key=lambda item: order.index(item[0]))) for q in layers]
    return Reading(layers, saturation, log_probs)


def gates_by_name(name: str, cell: Cell) -> Any:
    """`(params, state, x) -> gates` of a cell of CELLS; None for one without."""
    if name in VARIANTS:
        return partial(lstm_variants.gates, VARIANTS[name])
    try:
        return gates_of(cell)
    except InputError:
        return None


def _watch(cell: Cell, gates: Any, params: Params, xs: Array) -> dict[str, Array]:
    """h, c and the gates of every step, `[T, H]` each; the candidate among the gates."""

    def step(params: Params, state: State, x: Array) -> tuple[State, Any]:
        new_state, y = cell.step(params, state, x)
        seen = {"h": y}
        if hasattr(new_state, "c"):
            seen["c"] = new_state.c
        if gates is not None:
            seen |= gates(params, state, x)._asdict()
        return new_state, seen

    seen: Any = unroll(cell._replace(step=step), params, xs)[1]
    return seen


def mean_bits(log_probs: np.ndarray, ids: np.ndarray) -> float:
    """Bits per character of a text, its first character left out."""
    return float(-np.mean(log_probs[np.arange(len(ids) - 1), ids[1:]]) / math.log(2))
