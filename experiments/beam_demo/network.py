"""The network that the page holds: one LSTM over words, trained in seconds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.beam_demo.chains import END
from experiments.beam_demo.sentences import sentences
from seqjax.cells import CELLS
from seqjax.data.orders import padded
from seqjax.models import LanguageModel
from seqjax.training.labelling import label_losses
from seqjax.training.modules import merge_model, split_model
from seqjax.training.step import init_train_state, make_train_step, make_train_steps
from seqjax.types import Array, Params

UNITS = 32
BATCH_SIZE = 64
COUNT = 8000  # sentences


class Trained(NamedTuple):
    model: LanguageModel
    words: list[str]  # the first is END, which is also read first

    def for_page(self) -> dict[str, Any]:
        """What the page's script computes with: lists of numbers of seven digits."""
        cell = self.model.layers[0].arrays()
        arrays = {
            "embedding": self.model.embedding.embedding,
            **cell,
            "head": self.model.head.kernel,
            "head_bias": self.model.head.bias,
        }
        shown = {name: _digits(np.asarray(array)) for name, array in arrays.items()}
        return {"words": self.words, "arrays": shown}


def _digits(array: np.ndarray) -> Any:
    return [_digits(row) if row.ndim else float(f"{row:.7g}") for row in array]


def train(seed: int, num_steps: int) -> Trained:
    """A language model of the sentences."""
    text = sentences(COUNT, seed)
    words = [END, *sorted({word for sentence in text for word in sentence})]
    place = {word: number for number, word in enumerate(words)}
    rows = [np.array([0, *(place[w] for w in s), 0], np.int32) for s in text]
    tokens = jnp.asarray(padded(rows))
    lengths = jnp.array([len(row) - 1 for row in rows])
    cells = [CELLS["lstm"](UNITS)]
    model = LanguageModel(len(words), cells, embedding_size=UNITS, rngs=nnx.Rngs(seed))
    split = split_model(model)

    def loss_fn(params: Params, carry: Any, batch: Any, key: Array) -> tuple[Array, Any]:
        rows, lengths = batch
        _, logits = merge_model(split, params)(rows[:, :-1])
        live = jnp.arange(rows.shape[1] - 1) < lengths[:, None]
        loss = jnp.where(live, label_losses(logits, rows[:, 1:]), 0).sum() / live.sum()
        return loss, (carry, {"loss": loss})

    def batch_at(data: tuple, step: Array) -> Any:
        chosen = jax.random.randint(jax.random.key(step), (BATCH_SIZE,), 0, COUNT)
        return jax.tree.map(lambda a: a[chosen], data)

    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, num_steps))
    steps = make_train_steps(make_train_step(loss_fn, optimizer, seed), batch_at)
    state, _ = steps(init_train_state(split.params, optimizer), (tokens, lengths), num_steps)
    return Trained(merge_model(split, state.params), words)
