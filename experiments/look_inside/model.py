"""Loads a run of `experiments.char_lm` and reads a text with it, keeping all that can be looked at."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.data import TextSplits, load_text
from seqjax.diagnose import gate_saturation, gates_of
from seqjax.errors import InputError, RunError, shown
from seqjax.files.json import LARGEST
from seqjax.files.text import read_text
from seqjax.models import LanguageModel
from seqjax.recurrence.unroll import unroll
from seqjax.training.saved_models import SavedLanguageModel, load_language_model
from seqjax.types import Array, Cell, Params, State

CANDIDATES = ("g", "n", "h")  # stand beside the gates, but are none


class Source(NamedTuple):
    """What a config of char_lm says of its text."""

    data: str
    validation_fraction: float
    test_fraction: float
    max_chars: int


class Reading(NamedTuple):
    """What a model does on a text of T characters; everything at t is after it has read t."""

    layers: list[dict[str, np.ndarray]]  # per layer: name of a quantity -> [T, H]
    saturation: list[dict[str, tuple[np.ndarray, np.ndarray]]]  # gate -> shares below, above [H]
    log_probs: np.ndarray  # [T, V], of the character at t + 1, in nats


def load(path: str) -> SavedLanguageModel:
    """The best character model of a run, or the newest if none is best.

    Args:
      path: a workdir of char_lm, or a directory of checkpoints in it.

    Raises:
      InputError: if there is no checkpoint, or it is not one of char_lm.
      RunError: if it is damaged.
    """
    saved = load_language_model(path)
    if saved.vocabulary.kind != "char":
        raise InputError(
            f"--checkpoint={path} is no run of experiments.char_lm: look inside a character model."
        )
    return saved


def source_of(loaded: SavedLanguageModel) -> Source:
    """Where the run's text came from, as far as its config says so in the right types."""
    values: dict[str, Any] = {}
    for name, default in Source("stdlib", 0.05, 0.0, 0)._asdict().items():
        value = loaded.config.get(name, default)
        if type(default) is float and type(value) is int:  # as JSON may have it
            value = float(value)
        if type(value) is not type(default):
            raise InputError(
                f"{name} in the checkpoint of {loaded.directory} must be {type(default).__name__},"
                f" got {shown(value)}."
            )
        values[name] = value
    return Source(**values)


def texts_of(loaded: SavedLanguageModel, data: str = "") -> TextSplits | None:
    """The texts of the run's data; None if they have other characters than it was trained on.

    What the checkpoint says of its data is followed to the standard library only: it may be a
    stranger's, and name any file of this machine.

    Args:
      loaded: the run.
      data: where its data are, if not in the standard library.
    """
    run = source_of(loaded)
    if not data and run.data != "stdlib":
        return None
    try:
        splits = load_text(
            data or run.data,
            validation_fraction=run.validation_fraction,
            test_fraction=run.test_fraction,
            max_chars=run.max_chars,
        )
    except (InputError, RunError):
        return None
    known = set(loaded.vocabulary.tokens[1:])
    return splits if set(splits.train) == known else None


def choose_text(path: str, loaded: SavedLanguageModel, own: TextSplits | None, limit: int) -> str:
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
                f"the run was trained on {source_of(loaded).data}: give that as --data=PATH (if it has not"
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


def read(model: LanguageModel, ids: np.ndarray) -> Reading:
    """Runs the model over a text, from the state of zeros.

    Args:
      model: as `load` gives it.
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
            layers.append(_watch(cell, arrays, xs))
            shares = gate_saturation(cell, arrays, xs)
            saturation.append(
                {
                    name: (getattr(shares.below, name), getattr(shares.above, name))
                    for name in shares.below._fields
                    if name not in CANDIDATES
                }
            )
            xs = layers[-1]["h"]
        logits = model(tokens[None])[1][0]
        return layers, saturation, jax.nn.log_softmax(logits)

    layers, saturation, log_probs = jax.tree.map(np.asarray, run(params, tokens))
    if not np.isfinite(log_probs).all():
        raise RunError("the model's predictions on this text are not finite: it has diverged.")
    order = ("h", "c", "i", "f", "o", "r", "z", "g", "n")  # jit sorts names
    layers = [dict(sorted(q.items(), key=lambda item: order.index(item[0]))) for q in layers]
    return Reading(layers, saturation, log_probs)


def _watch(cell: Cell, params: Params, xs: Array) -> dict[str, Array]:
    """h, c and the gates of every step, `[T, H]` each; the candidate among the gates."""

    def step(params: Params, state: State, x: Array) -> tuple[State, Any]:
        new_state, y = cell.step(params, state, x)
        seen = {"h": y}
        if hasattr(new_state, "c"):
            seen["c"] = new_state.c
        seen |= gates_of(cell)(params, state, x)._asdict()
        return new_state, seen

    seen: Any = unroll(cell._replace(step=step), params, xs)[1]
    return seen


def mean_bits(log_probs: np.ndarray, ids: np.ndarray) -> float:
    """Bits per character of a text, its first character left out."""
    return float(-np.mean(log_probs[np.arange(len(ids) - 1), ids[1:]]) / math.log(2))
