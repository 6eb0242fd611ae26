"""What a bag of words can do: the floors that a recurrent network must beat."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB


class Texts(NamedTuple):
    words: Sequence[Sequence[str]]  # of each text
    labels: Sequence[Any]


def bag_of_words(train: Texts, test: Texts, *, regression: bool) -> dict[str, float]:
    """Accuracies on the test texts, by name.

    Words and pairs of words count as there or not there (Wang and Manning, 2012).

    Args:
      train: what is learned from.
      test: what the accuracies are of.
      regression: whether logistic regression, with the penalty that scikit-learn takes by default, stands
        beside naive Bayes, with a prior count of 1; it takes minutes for many texts.
    """
    truth = np.asarray(test.labels)
    most = Counter(train.labels).most_common(1)[0][0]
    found = {"most frequent label": float(np.mean(truth == most))}
    for name, analyzer in (("words", _words), ("words and pairs", _words_and_pairs)):
        count = CountVectorizer(binary=True, analyzer=analyzer)
        inputs, asked = count.fit_transform(train.words), count.transform(test.words)
        models = {"naive Bayes": MultinomialNB()}
        if regression:
            models["logistic regression"] = LogisticRegression(max_iter=1000)
        for kind, model in models.items():
            model.fit(inputs, np.asarray(train.labels))
            found[f"{kind}, {name}"] = float(np.mean(model.predict(asked) == truth))
    return found


def _words(text: Sequence[str]) -> list[str]:
    return list(text)


def _words_and_pairs(text: Sequence[str]) -> list[str]:
    return [*text, *(f"{a} {b}" for a, b in pairwise(text))]
