"""The lectures' first example: four letters, [h, e, l, o], learn to spell "hello".

Claim: a tanh RNN with 3 hidden units learns to predict the next letter of "hello", though the two
l's are followed by different letters, so that only the hidden state can tell them apart.

    python -m experiments.hello

takes seconds and prints the table of the lecture slide: each input letter, the hidden state, the
scores of the four letters, and the most probable next letter. Source: A. Karpathy, "The
Unreasonable Effectiveness of Recurrent Neural Networks", 2015, and every course since.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.common import cli
from experiments.common.cells import cell_option, factory_of
from seqjax.errors import check_positive, check_rate
from seqjax.recurrence.unroll import unroll

LETTERS = "helo"
WORD = "hello"


@dataclasses.dataclass(frozen=True)
class Config:
    cell: str = cell_option("rnn")
    hidden_size: int = cli.option(3, "hidden units; the slide has 3")
    steps: int = cli.option(300, "updates of Adam")
    learning_rate: float = cli.option(0.05, "learning rate of Adam")
    seed: int = cli.option(0, "seed of the weights")

    def __post_init__(self) -> None:
        check_positive("--hidden_size", self.hidden_size)
        check_positive("--steps", self.steps)
        check_rate("--learning_rate", self.learning_rate)


class Results(NamedTuple):
    losses: np.ndarray  # [steps] nats per letter
    states: np.ndarray  # [4, H]
    scores: np.ndarray  # [4, 4]
    spelled: str  # the word that the network writes from "h" on, reading its own output


def run(config: Config) -> Results:
    """Trains on the one word and lets the network spell it."""
    cell = factory_of(config.cell)(config.hidden_size)
    cell_key, head_key = jax.random.split(jax.random.key(config.seed))
    params = {
        "cell": cell.init(cell_key, len(LETTERS)),
        "head": 0.1 * jax.random.normal(head_key, (config.hidden_size, len(LETTERS))),
    }
    ids = jnp.array([LETTERS.index(letter) for letter in WORD])
    one_hot = jnp.eye(len(LETTERS))

    def read(params: dict, letters: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, ys = unroll(cell, params["cell"], one_hot[letters])
        return ys, ys @ params["head"]

    def loss_fn(params: dict) -> jax.Array:
        _, scores = read(params, ids[:-1])
        return optax.softmax_cross_entropy_with_integer_labels(scores, ids[1:]).mean()

    optimizer = optax.adam(config.learning_rate)

    def update(carry: tuple, _: None) -> tuple[tuple, jax.Array]:
        params, opt_state = carry
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), loss

    start = (params, optimizer.init(params))
    (params, _), losses = jax.jit(lambda s: lax.scan(update, s, length=config.steps))(start)

    letters, state = [0], cell.initial_state(())
    while len(letters) < len(WORD):
        state, y = cell.step(params["cell"], state, one_hot[letters[-1]])
        letters.append(int(jnp.argmax(y @ params["head"])))
    states, scores = read(params, ids[:-1])
    spelled = "".join(LETTERS[i] for i in letters)
    return Results(np.asarray(losses), np.asarray(states), np.asarray(scores), spelled)


def main(config: Config) -> None:
    results = run(config)
    print(f"loss: {results.losses[0]:.3f} nats at the start, {results.losses[-1]:.4f} at the end")
    print(f"input   hidden state{' ' * (7 * config.hidden_size - 12)}   scores of h, e, l, o")
    for letter, state, scores in zip(WORD, results.states, results.scores, strict=False):
        hidden = " ".join(f"{v:6.2f}" for v in state)
        shown = " ".join(f"{v:6.2f}" for v in scores)
        print(f"{letter}       {hidden}   {shown}   -> {LETTERS[scores.argmax()]}")
    print(f'after "h" it spells: {results.spelled}')


if __name__ == "__main__":
    cli.run(main, Config)
