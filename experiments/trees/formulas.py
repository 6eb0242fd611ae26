"""Formulas: a tree network and an LSTM that reads brackets, on formulas deeper than in training."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import optax
from flax import nnx

from experiments.common import cli
from experiments.common.epochs import Network
from experiments.trees.config import Config
from experiments.trees.network import (
    Training,
    build,
    make_lesson,
    make_optimizer,
    make_predict,
)
from experiments.trees.reader import Reader, as_strings, make_answers, make_reader_lesson
from seqjax.tasks.formulas import LANGUAGES, Language, as_string, draw_formula
from seqjax.training.optimizers import make_schedule
from seqjax.tree_cells import TREE_CELLS
from seqjax.types import Params, Tree

NETWORKS = ("tree network", "lstm")
EPOCHS = {"boolean": 4, "listops": 20}  # where none are asked for
PER_DEPTH = 300  # formulas of each depth in the test
CLIP_NORM = 5.0


def networks(config: Config) -> dict[str, Callable[[], Network]]:
    """Everything that is trained, by name."""
    makers = {"tree network": tree_network, "lstm": reader}
    return {
        f"{task}, {name}, seed {seed}": partial(makers[name], config, task, seed)
        for task in cli.chosen("--tasks", config.tasks, LANGUAGES)
        for name in NETWORKS
        for seed in range(config.seed, config.seed + config.seeds)
    }


def epochs_of(config: Config, task: str) -> int:
    """How many epochs a language takes."""
    return config.epochs or EPOCHS[task]


def draw(config: Config, language: Language, seed: int, epoch: int) -> list[Tree]:
    """The formulas of an epoch, new ones in each, of depths 1 to `--depth` equally often."""
    rng = np.random.default_rng([seed, 0, epoch])
    return [draw_formula(rng, language, 1 + i % config.depth) for i in range(config.formulas)]


def held_out_of(config: Config, task: str, seed: int) -> list[Tree]:
    """Formulas of the depths of training, to choose the best state by: of the epoch after the last."""
    return draw(config, LANGUAGES[task], seed, epochs_of(config, task))[:PER_DEPTH]


def deeper(config: Config, language: Language) -> list[Tree]:
    """The test: `PER_DEPTH` formulas of depth 1, then of depth 2, ...; the same for every network."""
    rng = np.random.default_rng([config.seed, 1])
    depths = range(1, config.test_depth + 1)
    return [draw_formula(rng, language, depth) for depth in depths for _ in range(PER_DEPTH)]


def tree_network(config: Config, task: str, seed: int) -> Network:
    """The tree network."""
    language, size = LANGUAGES[task], config.resolved()
    held_out = held_out_of(config, task, seed)
    cell = TREE_CELLS[config.cell](size.hidden_size)
    model = build(cell, len(language.tokens), len(language.values), size.hidden_size, seed)
    predict = partial(make_predict, model, width=config.wave)
    held_out_predict = predict(held_out)
    rate = schedule_of(config, task)
    optimizer = make_optimizer("adam", rate, rate, clip_norm=CLIP_NORM)

    def evaluate(params: Params) -> dict[str, float]:
        return scores_of(held_out, [p[-1] for p in held_out_predict(params)])

    def row(params: Params) -> dict[str, Any]:
        test = deeper(config, language)
        return by_depth(test, [p[-1] for p in predict(test)(params)])

    lesson = make_lesson(
        model,
        optimizer,
        partial(draw, config, language, seed),
        training_of(config, task, seed),
        evaluate,
    )
    return Network(lesson, {"task": task}, row)


def reader(config: Config, task: str, seed: int) -> Network:
    """The LSTM that reads the same formulas as strings, and is told the same values."""
    language, size = LANGUAGES[task], config.resolved()
    held_out = held_out_of(config, task, seed)
    sizes = len(language.tokens), len(language.values), size.hidden_size
    model = Reader(*sizes, rngs=nnx.Rngs(seed))
    optimizer = optax.chain(
        optax.clip_by_global_norm(CLIP_NORM), optax.adam(schedule_of(config, task))
    )

    def answers_to(trees: Sequence[Tree]) -> Callable[[Params], np.ndarray]:
        return make_answers(model, [as_string(t, language) for t in trees])

    held_out_answers = answers_to(held_out)
    lesson = make_reader_lesson(
        model,
        optimizer,
        lambda epoch: as_strings(
            [as_string(t, language) for t in draw(config, language, seed, epoch)]
        ),
        training_of(config, task, seed),
        lambda params: scores_of(held_out, held_out_answers(params)),
    )

    def row(params: Params) -> dict[str, Any]:
        test = deeper(config, language)
        return by_depth(test, answers_to(test)(params))

    return Network(lesson, {"task": task}, row)


def training_of(config: Config, task: str, seed: int) -> Training:
    """The sizes of training, the same for both networks."""
    size = config.resolved()
    return Training(
        config.formulas, size.batch_size, epochs_of(config, task), config.wave, seed=seed
    )


def schedule_of(config: Config, task: str) -> optax.Schedule:
    """The learning rate falls to zero over the run: what is learnt last must be exact."""
    size = config.resolved()
    num_steps = epochs_of(config, task) * -(-config.formulas // size.batch_size)
    return make_schedule("cosine", size.learning_rate, num_steps=num_steps)


def scores_of(trees: Sequence[Tree], at_root: Iterable[np.ndarray]) -> dict[str, float]:
    """Scores of held-out formulas, from the probabilities `[C]` at each root.

    The likelihood chooses the best state: the accuracy is 1 long before values are exact enough for
    formulas that are deeper.
    """
    given = [p[t.labels[-1]] for t, p in zip(trees, at_root, strict=True)]
    return {
        "log_likelihood": float(np.log(np.maximum(given, np.finfo(np.float32).tiny)).mean()),
        "accuracy": float(right(trees, at_root).mean()),
    }


def by_depth(trees: Sequence[Tree], at_root: Iterable[np.ndarray]) -> dict[str, Any]:
    """A row of the ledger: the accuracy at each depth from 1."""
    return {"accuracies": right(trees, at_root).reshape(-1, PER_DEPTH).mean(1).tolist()}


def right(trees: Sequence[Tree], at_root: Iterable[np.ndarray]) -> np.ndarray:
    """Which formulas are given the right value."""
    return np.array([p.argmax() == t.labels[-1] for t, p in zip(trees, at_root, strict=True)])
