"""Labels for one tree, by the best network of a saved run."""

import dataclasses

import numpy as np

from experiments.common import words
from experiments.common.saved_networks import best_network
from experiments.trees.config import Config
from experiments.trees.network import make_predict
from experiments.trees.sentiment import CLASSES, make_model, with_ids
from seqjax.data.sets.treebank import parse_tree
from seqjax.training.modules import split_model
from seqjax.tree_cells import TREE_CELLS
from seqjax.types import Tree


def predict(config: Config) -> list[int]:
    """Prints the tree with the network's label at every node, and returns these labels.

    Raises:
      InputError: if there is no tree, or no network of a treebank.
    """
    network = best_network(config.checkpoint)
    names, size = network.strings("words"), network.size("vector_size")
    saved = dataclasses.replace(network.config(Config), resume=False, predict="", checkpoint="")
    tree = parse_tree(config.predict, "--predict", arity=TREE_CELLS[saved.cell](1).arity)
    model = network.restore(lambda: make_model(saved, names, None, 0, size=size))
    params = split_model(model).params
    labelled = with_ids(tree, words.places(names))
    (probabilities,) = make_predict(model, [labelled], width=saved.wave)(params)
    print(_shown(tree, probabilities))
    label, names_of_classes = int(probabilities[-1].argmax()), CLASSES[saved.classes]
    print(f"{names_of_classes[label]}, with probability {probabilities[-1].max():.2f}")
    return [int(label) for label in probabilities.argmax(1)]


def _shown(tree: Tree, probabilities: np.ndarray) -> str:
    """The brackets again, with the network's labels."""
    parts: list[str] = []
    for node, children in enumerate(tree.children.tolist()):
        below = [parts[c] for c in children if c >= 0]
        inside = " ".join(below) if below else str(tree.tokens[node])
        parts.append(f"({probabilities[node].argmax()} {inside})")
    return parts[-1]
