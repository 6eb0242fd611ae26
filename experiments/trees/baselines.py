"""What a treebank gives without a network of trees: the most frequent class, and naive Bayes."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from experiments.trees.sentiment import Corpus
from seqjax.types import Tree


def baselines(corpus: Corpus) -> dict[str, float]:
    """The accuracy of each at the root of the test trees, trained on whole sentences."""
    train, labels = _sentences(corpus.train_texts), _roots(corpus.train)
    test, truth = _sentences(corpus.test_texts), _roots(corpus.test)
    scores = {"most frequent class": float(np.mean(truth == np.bincount(labels).argmax()))}
    for name, longest in (("naive Bayes, words", 1), ("naive Bayes, words and pairs", 2)):
        counts = CountVectorizer(
            binary=True, ngram_range=(1, longest), token_pattern=r"[^ ]+", lowercase=False
        )
        model = make_pipeline(counts, MultinomialNB()).fit(train, labels)
        scores[name] = float(np.mean(model.predict(test) == truth))
    return scores


def _sentences(texts: Sequence[Sequence[str]]) -> list[str]:
    return [" ".join(words).lower() for words in texts]


def _roots(trees: Sequence[Tree]) -> np.ndarray:
    return np.array([tree.labels[-1] for tree in trees])
