"""The floors of a set of sentences."""

from collections.abc import Sequence

from experiments.common.bag_of_words import Texts, bag_of_words
from seqjax.data.sets.sentences import LabelledSplits, Sentence

LARGEST_REGRESSION = 30_000  # training sentences; logistic regression takes minutes beyond


def baselines(splits: LabelledSplits) -> dict[str, float]:
    """Accuracies on the test sentences, by name."""
    regression = len(splits.train) <= LARGEST_REGRESSION
    return bag_of_words(_texts(splits.train), _texts(splits.test), regression=regression)


def _texts(sentences: Sequence[Sentence]) -> Texts:
    return Texts([s.words for s in sentences], [s.label for s in sentences])
