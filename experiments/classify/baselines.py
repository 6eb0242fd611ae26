"""What a bag of words can do: the floors that a recurrent network must beat."""

from collections import Counter
from itertools import pairwise

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from seqjax.data.sets.sentences import LabelledSplits, Sentence

LARGEST_REGRESSION = 30_000  # training sentences; logistic regression takes minutes beyond


def baselines(splits: LabelledSplits) -> dict[str, float]:
    """Accuracies on the test sentences, by name.

    Words and pairs of words count as there or not there (Wang and Manning, 2012); naive Bayes with
    a prior count of 1, logistic regression with the penalty that scikit-learn takes by default.
    """
    labels = np.array([sentence.label for sentence in splits.train])
    truth = np.array([sentence.label for sentence in splits.test])
    most = Counter(labels.tolist()).most_common(1)[0][0]
    found = {"most frequent label": float(np.mean(truth == most))}
    for name, longest in (("words", 1), ("words and pairs", 2)):
        count = CountVectorizer(binary=True, analyzer=_words if longest == 1 else _words_and_pairs)
        train = count.fit_transform(splits.train)
        test = count.transform(splits.test)
        models = {"naive Bayes": MultinomialNB()}
        if len(labels) <= LARGEST_REGRESSION:
            models["logistic regression"] = LogisticRegression(max_iter=1000)
        for kind, model in models.items():
            model.fit(train, labels)
            found[f"{kind}, {name}"] = float(np.mean(model.predict(test) == truth))
    return found


def _words(sentence: Sentence) -> list[str]:
    return list(sentence.words)


def _words_and_pairs(sentence: Sentence) -> list[str]:
    return [*sentence.words, *(f"{a} {b}" for a, b in pairwise(sentence.words))]
