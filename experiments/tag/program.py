"""A label for every word: one direction beside both, a softmax beside a CRF.

Claim: a network that reads from left to right cannot know a tag better than the words so far tell,
and one that reads in both directions can. On sentences of a hidden Markov model, whose posteriors
are exact, both reach their own ceiling: .71 and .78 of the tags.

    python -m experiments.tag

trains both on that model, in 209 seconds on 2 CPU cores. With --data it reads words with tags,
the same way for every set, and beside accuracy scores chunks (B-X, I-X) by F1, as conlleval does and
strictly:

    python -m experiments.tag --data=PATH/ud_english_ewt --directions=both --embedding_size=100 \\
        --hidden_size=128 --dropout=0.4 --learning_rate=2e-3 --epochs=6 --seeds=3
    python -m experiments.tag --predict="They book a table ." --checkpoint=RUN

Sources: Z. Huang, W. Xu and K. Yu, 2015; B. Plank, A. Soegaard and Y. Goldberg, 2016; L. R. Rabiner,
1989, for the posteriors of hidden Markov models.
"""

from functools import partial
from typing import Any

import numpy as np

from experiments.common.devices import with_devices
from experiments.common.epochs import Network, best_params, directory_of, train_networks
from experiments.common.examples import confusion
from experiments.common.labelling import make_predict
from experiments.common.saved_networks import best_network
from experiments.common.study_run import StudyRun, open_study
from experiments.tag import report
from experiments.tag.baselines import baselines
from experiments.tag.config import DIRECTIONS, OUTPUTS, Config
from experiments.tag.features import readers_from
from experiments.tag.network import (
    Kind,
    best_tags,
    kinds,
    make_model,
    make_trainee,
    named,
    scores,
)
from experiments.tag.text import Text, load_text, unseen_tags
from seqjax.data.sets.columns import TaggedSentence
from seqjax.data.sets.sentences import tokenise
from seqjax.errors import InputError
from seqjax.files.json import read_lines
from seqjax.files.writing import write_atomically
from seqjax.training.labelling import Labelled
from seqjax.training.modules import split_model
from seqjax.types import Params

Networks = dict[str, tuple[Kind, int]]  # by name: what kind it is, and its seed


def run(config: Config) -> dict[str, Any]:
    """Trains every network from every seed, and compares; returns the numbers of results.json."""
    config = with_devices(config)
    text = load_text(config)
    networks: Networks = {
        f"{kind.name(config.cell)}, seed {seed}": (kind, seed)
        for kind in kinds(config)
        for seed in range(config.seed, config.seed + config.seeds)
    }
    sizes = "/".join(f"{size:,}" for size in text.sizes())
    words = len(text.readers.values[0])
    expect = f"{sizes} sentences, {words:,} words, {len(text.tags)} tags; {len(networks)} networks"
    if unseen := unseen_tags(text):
        expect += f"; training never shows {', '.join(sorted(unseen))}, which count as wrong"
    with open_study("tag", config, expect=expect) as study:
        makers = {name: partial(network, config, text, *who) for name, who in networks.items()}
        return finish(study, text, networks, train_networks(study, makers))


def network(config: Config, text: Text, kind: Kind, seed: int) -> Network:
    """One network of the run: how it is trained, and what is said of it."""
    trainee = make_trainee(config, kind, text, seed)

    def row(params: Params) -> dict[str, Any]:
        found = {}
        for split in ("validation", "test"):
            sentences = getattr(text.splits, split)
            given = named(trainee.given(params, getattr(text.sets, split)), sentences, text.tags)
            found[split] = scores(sentences, given, chunks=text.has_chunks())
        return found

    return Network(trainee.lesson, text.identity() | {"kind": kind._asdict()}, row)


def finish(
    study: StudyRun, text: Text, networks: Networks, rows: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    name = report.score_name(text)
    best = max(rows, key=lambda key: rows[key]["validation"][name])
    given = tags_of(study, text, networks[best], best)
    by_kind: dict[str, dict[str, list[float]]] = {}
    curves: dict[str, tuple[list, list]] = {}
    for key, row in rows.items():
        kind = networks[key][0].name(study.config.cell)
        for score, value in row["test"].items():
            by_kind.setdefault(kind, {}).setdefault(score, []).append(value)
        curves.setdefault(kind, curve(study, text, key, name))
    title, published = report.about(text, study.config.data)
    results = {
        "title": title,
        "test": by_kind,
        "baselines": report.baseline_scores(text, baselines(text.splits.train, text.splits.test)),
        "ceilings": report.ceilings(text.hmm, text.splits.test) if text.hmm else {},
        "validation_ceilings": (
            report.ceilings(text.hmm, text.splits.validation) if text.hmm else {}
        ),
        "published": published,
        "confusion": confusions(text, given).tolist(),
        "best": best,
    }
    report.figure(study.workdir / "scores.png", text, results, curves)
    shown = f"{best}, {report.examples(text.splits.test, given)}"
    print(shown)
    write_atomically(study.workdir / "examples.txt", shown + "\n")
    study.finish(results, report.table(text, results))
    return results


def tags_of(study: StudyRun, text: Text, who: tuple[Kind, int], name: str) -> list[list[str]]:
    """The tags that a trained network gives to the test sentences."""
    trainee = make_trainee(study.config, who[0], text, who[1])
    params = best_params(study.workdir, name, trainee.lesson.state.params)
    return named(trainee.given(params, text.sets.test), text.splits.test, text.tags)


def curve(study: StudyRun, text: Text, network: str, score: str) -> tuple[list, list]:
    """A network's validation scores: epochs and values."""
    rows = read_lines(directory_of(study.workdir, network) / "metrics.jsonl")
    values = [row[score] for row in rows if row["split"] == "validation"]
    return list(range(1, len(values) + 1)), values


def confusions(text: Text, given: list[list[str]]) -> np.ndarray:
    """How often each tag was taken for each, over the test words whose tag training shows."""
    places = {tag: place for place, tag in enumerate(text.tags)}
    pairs = [
        (places[a], places[b])
        for sentence, tags in zip(text.splits.test, given, strict=True)
        for a, b in zip(sentence.tags, tags, strict=True)
        if a in places
    ]
    truth, found = np.array(pairs).T
    return confusion(truth, found, len(places))


def predict(config: Config) -> list[str]:
    """Prints the words of a text with the tags that the best network of a run gives them."""
    saved = best_network(config.checkpoint)
    trained = saved.config(Config)
    tags, readers = saved.strings("tags"), readers_from(saved)
    kind = Kind(**saved.choices("kind", {"direction": DIRECTIONS, "output": OUTPUTS}))
    if "given" in readers.names:
        raise InputError(
            f"{saved.where} reads parts of speech beside words: it cannot tag plain text."
        )
    size = saved.size("vector_size")
    model = saved.restore(lambda: make_model(trained, kind, readers, len(tags), size=size))
    words = tuple(config.predict.split()) if " " in config.predict else tokenise(config.predict)
    sentence = TaggedSentence(words, words, ())
    example = Labelled(
        readers.encode([sentence]),
        np.array([len(words)], np.int32),
        np.zeros((1, len(words)), np.int32),
    )
    ask = make_predict(model, best_tags, (), by_step=True, batch_size=1)
    (given,) = named(ask(split_model(model).params, example), [sentence], tags)
    print(" ".join(f"{word}/{tag}" for word, tag in zip(words, given, strict=True)))
    return given


def main(config: Config) -> None:
    predict(config) if config.predict else run(config)
