"""What a treebank gives without a network of trees."""

from collections.abc import Sequence

from experiments.common.bag_of_words import Texts, bag_of_words
from experiments.trees.sentiment import Corpus
from seqjax.types import Tree


def baselines(corpus: Corpus) -> dict[str, float]:
    """The accuracy of each at the root of the test trees, trained on whole sentences."""
    train, test = _texts(corpus.train_texts, corpus.train), _texts(corpus.test_texts, corpus.test)
    return bag_of_words(train, test, regression=False)


def _texts(texts: Sequence[Sequence[str]], trees: Sequence[Tree]) -> Texts:
    words = [[word.lower() for word in text] for text in texts]
    return Texts(words, [int(tree.labels[-1]) for tree in trees])
