"""The table, the figure and the examples of a run."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots, tables
from experiments.common.examples import surest
from experiments.common.intervals import interval
from experiments.common.pictures import confusion_matrix, dots
from seqjax.data.sets.sentences import Sentence

# By the numbers of training, validation and test sentences: the name, and what was published.
PUBLISHED: dict[tuple[int, int, int], tuple[str, dict[str, float]]] = {
    (6920, 872, 1821): (
        "SST-2",
        {
            "LSTM, last, GloVe 300, phrases (Tai et al., 2015)": 0.849,
            "bidirectional LSTM, GloVe 300, phrases (Tai et al., 2015)": 0.875,
            "CNN, random vectors, phrases (Kim, 2014)": 0.827,
            "naive Bayes with pairs (Socher et al., 2013)": 0.831,
            "mean of random vectors (Iyyer et al., 2015)": 0.814,
        },
    ),
    (8544, 1101, 2210): (
        "SST-5",
        {
            "LSTM, last, GloVe 300, phrases (Tai et al., 2015)": 0.464,
            "bidirectional LSTM, GloVe 300, phrases (Tai et al., 2015)": 0.491,
            "CNN, random vectors, phrases (Kim, 2014)": 0.450,
            "naive Bayes with pairs (Socher et al., 2013)": 0.419,
            "mean of random vectors (Iyyer et al., 2015)": 0.423,
        },
    ),
    (8637, 959, 1066): (
        "MR (rt-polarity), one split",
        {
            "CNN, random vectors, ten folds (Kim, 2014)": 0.761,
            "mean of random vectors (Iyyer et al., 2015)": 0.762,
        },
    ),
    (22500, 2500, 25000): (
        "IMDB",
        {
            "bidirectional LSTM, 256 words (bentrevett, 2024)": 0.862,
            "bag of vectors, 256 words (bentrevett, 2024)": 0.858,
            "mean of random vectors (Iyyer et al., 2015)": 0.889,
        },
    ),
}


def set_name(sizes: tuple[int, int, int], data: str) -> str:
    """What the sentences are called: by their numbers, if these are of a published set."""
    return PUBLISHED[sizes][0] if sizes in PUBLISHED else Path(data).name


def published_for(sizes: tuple[int, int, int]) -> dict[str, float]:
    """Published accuracies on the test sentences; none for other sets."""
    return PUBLISHED[sizes][1] if sizes in PUBLISHED else {}


def table(
    accuracies: dict[str, list[float]], floors: dict[str, float], published: dict[str, float]
) -> str:
    """One line for each kind of network, each baseline, and each published number."""
    rows = [
        (name, interval(np.array(values)), str(len(values))) for name, values in accuracies.items()
    ]
    rows += [(f"baseline: {name}", f"{value:.3f}", "") for name, value in floors.items()]
    rows += [(f"published: {name}", f"{value:.3f}", "") for name, value in published.items()]
    return tables.table(("test accuracy", "mean ± 95 %", "seeds"), rows)


def figure(path: Path, title: str, results: dict[str, Any], labels: tuple[str, ...]) -> None:
    """Accuracies with their intervals over the floors, and the confusion matrix of the best network."""
    accuracies, floors = results["test_accuracy"], results["baselines"]
    with plots.panels(path, 2) as (left, right):
        dots(left, accuracies, floors, results["published"], xlabel="test accuracy", title=title)
        confusion_matrix(right, np.array(results["confusion"]), labels, results["best"])


def examples(
    sentences: list[Sentence],
    probabilities: np.ndarray,
    truth: np.ndarray,
    labels: tuple[str, ...],
) -> str:
    """Five sentences that the network is surest of and right, and five where it is wrong."""
    given = probabilities.argmax(1)
    lines = []
    for title, places in zip(
        ("right", "wrong"), surest(given == truth, probabilities.max(1)), strict=True
    ):
        lines.append(f"the surest of the {title} ones:")
        lines += [_line(sentences[i], labels[given[i]], probabilities[i].max()) for i in places]
        if not places:
            lines.append("  none")
    return "\n".join(lines)


def _line(sentence: Sentence, given: str, probability: float) -> str:
    words = " ".join(sentence.words)
    shown = words if len(words) <= 90 else f"{words[:87]}..."
    told = "" if given == sentence.label else f" (is {sentence.label})"
    return f"  {given} {probability:.3f}{told}: {shown}"
