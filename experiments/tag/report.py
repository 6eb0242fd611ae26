"""The table, the figure and the examples of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots, tables
from experiments.common.intervals import interval
from experiments.common.pictures import confusion_matrix, dots
from experiments.tag.network import scores
from experiments.tag.text import Text, tagged_by_hmm
from seqjax.data.sets.columns import TaggedSentence
from seqjax.tasks.hmm import HMM, accuracy_of, posteriors

# By the numbers of training, validation and test sentences: the name, and what was published.
PUBLISHED: dict[tuple[int, int, int], tuple[str, dict[str, float]]] = {
    (12544, 2001, 2077): (
        "UD English EWT, parts of speech",
        {
            "bidirectional LSTM, words and letters, UD 1.3 (Plank et al., 2016, bilty)": 0.9460,
            "2-layer bidirectional LSTM, GloVe 100, lower case (bentrevett, 2021)": 0.8826,
        },
    ),
    (7936, 1000, 2012): (
        "CoNLL-2000 chunks",
        {
            "official baseline (Tjong Kim Sang and Buchholz, 2000)": 0.7707,
            "bidirectional LSTM, hand-made features, random vectors (Huang et al., 2015)": 0.9364,
            "... with a CRF (Huang et al., 2015)": 0.9413,
        },
    ),
    (3394, 1009, 1287): (
        "WNUT-17 entities",
        {"best of the shared task, UH-RiTUAL (Derczynski et al., 2017)": 0.4186},
    ),
}
SHOWN_TAGS = 17  # of a confusion matrix


def about(text: Text, data: str) -> tuple[str, dict[str, float]]:
    """The name of the sentences, and published scores on their test split."""
    return PUBLISHED.get(text.sizes(), (Path(data).name, {}))


def score_name(text: Text) -> str:
    return "f1" if text.has_chunks() else "accuracy"


def ceilings(hmm: HMM, sentences: list[TaggedSentence]) -> dict[str, float]:
    """How often the most probable tag is right, for one who knows the model."""
    tagged = tagged_by_hmm(sentences)
    filtering, smoothing = posteriors(hmm, tagged)
    return {
        "filtering posterior": accuracy_of(filtering, tagged),
        "smoothing posterior": accuracy_of(smoothing, tagged),
    }


def table(text: Text, results: dict[str, Any]) -> str:
    """One line for each kind of network, baseline, ceiling, and published number."""
    name = score_name(text)
    rows = []
    for kind, by_score in results["test"].items():
        others = ", ".join(
            f"{key} {np.mean(values):.3f}" for key, values in by_score.items() if key != name
        )
        values = np.array(by_score[name])
        rows.append((kind, interval(values), str(len(values)), others))
    for label in ("baselines", "ceilings", "published"):
        for key, value in results[label].items():
            shown = value[name] if isinstance(value, dict) else value
            rows.append((f"{label.removesuffix('s')}: {key}", f"{shown:.3f}", "", ""))
    return tables.table((f"test {name}", "mean ± 95 %", "seeds", "other scores"), rows)


def figure(path: Path, text: Text, results: dict[str, Any], curves: dict[str, Any]) -> None:
    """Scores by epoch between floors and ceilings, and what is taken for what."""
    name = score_name(text)
    with plots.panels(path, 2) as (left, right):
        levels = results["validation_ceilings"]
        if levels:
            for place, (kind, (epochs, values)) in enumerate(curves.items()):
                colour = plots.COLOURS[place % len(plots.COLOURS)]
                left.plot(epochs, values, color=colour, marker="o", ms=3, label=kind)
            for key, value in levels.items():
                plots.level(left, f"{key}: {value:.3f}", value)
            left.xaxis.get_major_locator().set_params(integer=True)
            left.legend(frameon=False, loc="center right")
            plots.label(
                left,
                xlabel="epoch",
                ylabel=f"validation {name}",
                title=f"{results['title']}: first seed",
            )
        else:
            floors = {key: value[name] for key, value in results["baselines"].items()}
            means = {kind: by_score[name] for kind, by_score in results["test"].items()}
            dots(
                left,
                means,
                floors,
                results["published"],
                xlabel=f"test {name}",
                title=results["title"],
            )
        counts = np.array(results["confusion"])
        most = np.sort(np.argsort(-counts.sum(1), kind="stable")[:SHOWN_TAGS])
        confusion_matrix(
            right, counts[np.ix_(most, most)], [text.tags[i] for i in most], results["best"]
        )


def examples(
    sentences: Sequence[TaggedSentence], given: Sequence[Sequence[str]], *, count: int = 5
) -> str:
    """Some sentences that are right in every tag, and the worst ones, wrong tags marked."""
    wrong = [
        sum(a != b for a, b in zip(s.tags, g, strict=True))
        for s, g in zip(sentences, given, strict=True)
    ]
    long_enough = [i for i, s in enumerate(sentences) if 5 <= len(s.words) <= 15]
    right = [i for i in long_enough if not wrong[i]][:count]
    worst = sorted((i for i in long_enough if wrong[i]), key=lambda i: -wrong[i])[:count]
    lines = ["right in every tag:"]
    lines += [_line(sentences[i], given[i]) for i in right] or ["  none"]
    lines += ["the most tags wrong (given, not the true one):"]
    lines += [_line(sentences[i], given[i]) for i in worst] or ["  none"]
    return "\n".join(lines)


def _line(sentence: TaggedSentence, given: Sequence[str]) -> str:
    words = zip(sentence.words, sentence.tags, given, strict=True)
    return "  " + " ".join(
        f"{word}/{got}" if tag == got else f"{word}/{got}(not {tag})" for word, tag, got in words
    )


def baseline_scores(text: Text, given: dict[str, list[list[str]]]) -> dict[str, dict[str, float]]:
    """The scores of each baseline's tags on the test sentences."""
    chunks = text.has_chunks()
    return {name: scores(text.splits.test, tags, chunks=chunks) for name, tags in given.items()}
