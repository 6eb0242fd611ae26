"""A treebank: the network, its scores, and what they are compared with."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.common import words
from experiments.common.epochs import Network
from experiments.common.examples import confusion, surest
from experiments.trees.config import Config
from experiments.trees.network import (
    Training,
    build,
    make_lesson,
    make_optimizer,
    make_predict,
)
from seqjax.data.sets.treebank import Treebank, leaf_words, load_treebank, split_by_label
from seqjax.data.vectors import load_vectors
from seqjax.errors import InputError
from seqjax.models import TreeNetwork
from seqjax.tree_cells import TREE_CELLS
from seqjax.types import Params, Tree

CLASSES = {
    5: ("very negative", "negative", "neutral", "positive", "very positive"),
    2: ("negative", "positive"),
}
NEUTRAL = 2
SAME_SIZE = ("rnn", "rntn")  # cells whose leaves are the words' vectors themselves
UNSEEN_SCALE = 0.1  # standard deviation of the vector of a word that --vectors has none for


class Corpus(NamedTuple):
    """A treebank as a network reads it."""

    train: list[Tree]  # tokens are ids
    dev: list[Tree]
    test: list[Tree]
    names: list[str]  # the words, by id
    vectors: np.ndarray | None  # [V, D]
    train_texts: list[list[str]]  # the words of each tree
    test_texts: list[list[str]]
    digest: str


def load_corpus(config: Config) -> Corpus:
    """Reads the treebank and the vectors that the config names.

    Raises:
      InputError: if they are not of their formats, or the labels are not those of five classes.
    """
    bank = load_treebank(config.data, arity=TREE_CELLS[config.cell](1).arity)
    labels = {label for tree in bank.train for label in tree.labels.tolist()}
    if labels != set(range(5)):
        raise InputError(f"--data={config.data} must have the labels 0 to 4, got {sorted(labels)}.")
    splits: list[list[Tree]] = [bank.train, bank.dev, bank.test]
    if config.classes == 2:
        splits = [split_by_label(split, NEUTRAL) for split in splits]
    names, vectors = _words(config, bank)
    table = words.places(names)
    train, dev, test = ([with_ids(tree, table) for tree in split] for split in splits)
    train_texts, test_texts = ([leaf_words(tree) for tree in splits[i]] for i in (0, 2))
    return Corpus(train, dev, test, names, vectors, train_texts, test_texts, bank.digest)


def _words(config: Config, bank: Treebank) -> tuple[list[str], np.ndarray | None]:
    """The words that have a vector of their own, in lower case, and the first values of these."""
    lower = {
        s: [w.lower() for t in getattr(bank, s) for w in leaf_words(t)] for s in bank._fields[:3]
    }
    names = words.frequent(lower["train"], min_count=config.min_count)
    if not config.vectors:
        return names, None
    everything = words.frequent(word for split in lower.values() for word in split)
    loaded = load_vectors(config.vectors, everything)
    kept = set(names)
    places = [i for i, name in enumerate(everything) if loaded.known[i] or name in kept]
    unseen = np.random.default_rng(config.seed).normal(size=(len(places), loaded.values.shape[1]))
    known = loaded.known[places][:, None]
    vectors = np.where(known, loaded.values[places], UNSEEN_SCALE * unseen)
    return [everything[i] for i in places], vectors.astype(np.float32)


def with_ids(tree: Tree, table: dict[str, int]) -> Tree:
    """A tree whose tokens are ids, 0 for words that are not in the table, -1 for none."""
    ids = [table.get(word.lower(), 0) if word else -1 for word in tree.tokens.tolist()]
    return tree._replace(tokens=np.array(ids, np.int32))


def make_model(
    config: Config, names: Sequence[str], vectors: np.ndarray | None, seed: int, size: int = 0
) -> TreeNetwork:
    """The network of a config; `size` is that of the words' vectors where none are given."""
    defaults = config.resolved()
    embedding_size = size or (defaults.embedding_size if vectors is None else vectors.shape[1])
    hidden_size = defaults.hidden_size
    if config.cell in SAME_SIZE and not config.hidden_size:
        hidden_size = embedding_size
    return build(
        TREE_CELLS[config.cell](hidden_size),
        len(names),
        config.classes,
        embedding_size,
        seed,
        vectors=vectors,
        input_dropout=config.input_dropout,
        dropout=config.dropout,
    )


def networks(config: Config, corpus: Corpus) -> dict[str, Callable[[], Network]]:
    """Everything that is trained, by name."""
    return {
        f"{config.cell}, seed {seed}": partial(network, config, corpus, seed)
        for seed in range(config.seed, config.seed + config.seeds)
    }


def network(config: Config, corpus: Corpus, seed: int) -> Network:
    """One network."""
    size = config.resolved()
    model = make_model(config, corpus.names, corpus.vectors, seed)
    predict = partial(make_predict, model, width=config.wave)
    dev = predict(corpus.dev)
    optimizer = make_optimizer("adagrad", size.learning_rate, config.vector_rate)
    training = Training(
        len(corpus.train), size.batch_size, size.epochs, config.wave, config.l2, seed
    )

    def evaluate(params: Params) -> dict[str, float]:
        scores = scores_of(corpus.dev, dev(params))
        return {"root": scores["root"], "all_nodes": scores["all_nodes"]}

    def row(params: Params) -> dict[str, Any]:
        return row_of(corpus, predict(corpus.test)(params), evaluate(params))

    lesson = make_lesson(model, optimizer, lambda epoch: corpus.train, training, evaluate)
    identity = {
        "treebank": corpus.digest,
        "words": corpus.names,
        "vector_size": int(model.embedding.features),
    }
    return Network(lesson, identity, row)


def row_of(
    corpus: Corpus, probabilities: Sequence[np.ndarray], dev: dict[str, float]
) -> dict[str, Any]:
    """What the ledger keeps of a network."""
    truth = np.array([tree.labels[-1] for tree in corpus.test])
    at_root = np.stack([p[-1] for p in probabilities])
    given = at_root.argmax(1)
    right, wrong = surest(given == truth, at_root.max(1))
    return {
        "dev": dev,
        "test": scores_of(corpus.test, probabilities),
        "confusion": confusion(truth, given, at_root.shape[1]).tolist(),
        "right": [example(corpus, at_root, i) for i in right],
        "wrong": [example(corpus, at_root, i) for i in wrong],
    }


def example(corpus: Corpus, at_root: np.ndarray, i: int) -> dict[str, Any]:
    """A test sentence with its label and the network's."""
    return {
        "text": " ".join(corpus.test_texts[i]),
        "label": int(corpus.test[i].labels[-1]),
        "given": int(at_root[i].argmax()),
        "probability": float(at_root[i].max()),
    }


def scores_of(trees: Sequence[Tree], probabilities: Sequence[np.ndarray]) -> dict[str, float]:
    """Accuracies at the root and at all labelled nodes.

    Of five classes also whether the sign is right, where it is not neutral: both classes of a sign are
    added up.
    """
    labels = np.concatenate([tree.labels for tree in trees])
    values = np.concatenate(probabilities)
    is_root = np.concatenate([np.arange(len(t.labels)) == len(t.labels) - 1 for t in trees])
    known = labels >= 0
    right = values.argmax(1) == labels
    scores = {
        "root": float(right[is_root].mean()),
        "all_nodes": float(right[known].mean()),
    }
    if values.shape[1] == 5:
        positive = values[:, NEUTRAL + 1 :].sum(1) > values[:, :NEUTRAL].sum(1)
        signed = labels != NEUTRAL
        sign_right = positive == (labels > NEUTRAL)
        scores["root_sign"] = float(sign_right[is_root & signed].mean())
        scores["all_nodes_sign"] = float(sign_right[signed].mean())
    return scores
