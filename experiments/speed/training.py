"""The main job end to end: updates of a character language model, as `experiments.char_lm` makes them.

An update draws nothing: embedding, LSTM, head, the loss of next characters, its gradient clipped by the norm, Adam;
the state is carried on. One call makes ten: of seqjax in one dispatch, as its program does, of torch one after
the other. Torch's model is written plainly, with its own LSTM, and runs eagerly.

Three kinds of work say where the time goes: `update` is all of it, `gradient` the same without clipping and optimizer,
`layers` ten gradients of the recurrent layers alone. What is between the last two is embedding, head and loss.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.speed.work import Case, Unsupported, Work, cores, rss_increase, temp_bytes
from seqjax.cells import CELLS
from seqjax.data.batches import batch_at, training_rows
from seqjax.devices.mesh import batch_mesh
from seqjax.models import LanguageModel
from seqjax.training.language_modelling import make_loss
from seqjax.training.modules import split_model
from seqjax.training.place import place_training
from seqjax.training.step import init_train_state, make_train_step, make_train_steps

UPDATES = 10  # of a call
PARTS = ("update", "gradient", "layers")
CLIP_NORM, RATE = 5.0, 1e-3


def ten_times(layers: Callable[[Case], Work], case: Case) -> Work:
    """Ten gradients of the recurrent layers alone, by whoever trains them in the suite `peers`."""
    one = layers(case._replace(kind="train", input_size=case.hidden_size))
    return one._replace(call=lambda: [one.call() for _ in range(UPDATES)])


def text_of(case: Case) -> np.ndarray:
    """Characters at random: enough for twenty updates."""
    count = case.batch * case.steps * 2 * UPDATES + 1
    return np.random.default_rng(0).integers(case.input_size, size=count).astype(np.int32)


def seqjax_training(case: Case, *, devices: int = 1) -> Work:
    """The program's own parts; D of a shape is the size of the vocabulary."""
    cells = [CELLS[case.cell](case.hidden_size)] * case.layers
    model = LanguageModel(case.input_size, cells, embedding_size=case.hidden_size, rngs=nnx.Rngs(0))
    split = split_model(model)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(RATE))
    if case.kind == "gradient":
        optimizer = optax.set_to_zero()
    steps = make_train_steps(
        make_train_step(make_loss(split.graphdef), optimizer, 0),
        lambda rows, step: batch_at(rows, case.steps, step),
    )
    state = init_train_state(split.params, optimizer, model.initial_state(case.batch))
    rows = training_rows(text_of(case), case.batch, case.steps)
    state, rows = place_training(batch_mesh(devices), state, rows)

    def call() -> Any:
        nonlocal state
        state, metrics = steps(state, rows, UPDATES)
        return jax.block_until_ready(metrics)

    return Work(call, partial(temp_bytes, steps, state, rows, jnp.int32(UPDATES)))


def torch_training(case: Case) -> Work:
    """The same model, optimizer and clipping in torch."""
    import torch

    if case.cell not in ("lstm", "gru", "rnn"):
        raise Unsupported("torch has no such layer")
    torch.set_num_threads(cores())
    size = case.hidden_size
    embedding = torch.nn.Embedding(case.input_size, size)
    layer = getattr(torch.nn, case.cell.upper())(size, size, case.layers)
    head = torch.nn.Linear(size, case.input_size)
    parameters = [*embedding.parameters(), *layer.parameters(), *head.parameters()]
    adam = torch.optim.Adam(parameters, lr=RATE)
    rows = training_rows(text_of(case), case.batch, case.steps)
    inputs, targets = (torch.tensor(np.asarray(a).T.copy()).long() for a in rows[:2])
    state, step = None, 0

    def update() -> Any:
        nonlocal state, step
        start = step % (2 * UPDATES) * case.steps
        window = slice(start, start + case.steps)
        ys, state = layer(embedding(inputs[window]), state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        logits = head(ys).flatten(0, 1)
        losses = torch.nn.functional.cross_entropy(logits, targets[window].flatten())
        adam.zero_grad(set_to_none=True)
        (losses * case.steps).backward()
        if case.kind == "update":
            torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
            adam.step()
        step += 1
        return losses.item()

    return Work(lambda: [update() for _ in range(UPDATES)], rss_increase())
