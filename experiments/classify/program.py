"""Sentences in, one label out: pooling by last, mean and max, one direction and both.

Claim: a recurrent network tells what no bag of words can. On sentences such as "the soup was good ,
not bad", whose words are the same in both classes, naive Bayes is at 50 % and an LSTM at 100 %.

    python -m experiments.classify

trains three poolings in one direction and in both on that grammar, in 200 seconds on 2 CPU
cores that had other work. With --data it reads sentences with labels, the same way for every set:

    python -m experiments.classify --data=PATH/sst_sentences/stsa.binary --seeds=5
    python -m experiments.classify --predict="a moving film" --checkpoint=RUN

Every network's best state on the validation sentences is tested. Baselines on the same split: naive
Bayes and logistic regression on words, and on words and pairs of words. Sources: K. S. Tai, R. Socher
and C. D. Manning, 2015; Y. Kim, 2014; S. Wang and C. D. Manning, 2012; A. Conneau et al., 2017, who
found max pooling better than the last state, and mean worse.
"""

from functools import partial
from typing import Any

import numpy as np

from experiments.classify import report
from experiments.classify.baselines import baselines
from experiments.classify.config import DIRECTIONS, Config
from experiments.classify.network import (
    Kind,
    kinds,
    make_model,
    make_trainee,
    probabilities_of,
    scores,
)
from experiments.classify.text import Text, load_text
from experiments.common.devices import with_devices
from experiments.common.epochs import Network, best_params, train_networks
from experiments.common.examples import confusion
from experiments.common.labelling import make_predict
from experiments.common.saved_networks import best_network
from experiments.common.study_run import StudyRun, open_study
from experiments.common.words import ids, places
from seqjax.data.sets.sentences import tokenise
from seqjax.files.writing import write_atomically
from seqjax.layers.pooling import POOLINGS
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
    expect = (
        f"{sizes} sentences, {len(text.tokens):,} words, {len(text.splits.labels)} labels;"
        f" {len(networks)} networks"
    )
    with open_study("classify", config, expect=expect) as study:
        makers = {name: partial(network, config, text, *who) for name, who in networks.items()}
        return finish(study, text, networks, train_networks(study, makers))


def network(config: Config, text: Text, kind: Kind, seed: int) -> Network:
    """One network of the run: how it is trained, and what is said of it."""
    trainee = make_trainee(config, kind, text, seed)

    def row(params: Params) -> dict[str, float]:
        splits = {"validation": text.sets.validation, "test": text.sets.test}
        return {
            f"{name}_accuracy": scores(trainee.probabilities(params, split), split)["accuracy"]
            for name, split in splits.items()
        }

    return Network(trainee.lesson, text.identity() | {"kind": kind._asdict()}, row)


def finish(
    study: StudyRun, text: Text, networks: Networks, rows: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    floors = baselines(text.splits)
    best = max(rows, key=lambda name: rows[name]["validation_accuracy"])
    kind, seed = networks[best]
    trainee = make_trainee(study.config, kind, text, seed)
    params = best_params(study.workdir, best, trainee.lesson.state.params)
    probabilities = trainee.probabilities(params, text.sets.test)
    truth, labels = np.asarray(text.sets.test.labels), text.splits.labels
    counts = confusion(truth, probabilities.argmax(1), len(labels))
    accuracies: dict[str, list[float]] = {}
    for name, row in rows.items():
        kind_name = networks[name][0].name(study.config.cell)
        accuracies.setdefault(kind_name, []).append(row["test_accuracy"])
    published = report.published_for(text.sizes())
    results = {
        "test_accuracy": accuracies,
        "baselines": floors,
        "published": published,
        "confusion": counts.tolist(),
        "best": best,
    }
    title = report.set_name(text.sizes(), study.config.data)
    report.figure(study.workdir / "accuracy.png", title, results, labels)
    shown = f"{best}: {report.examples(text.splits.test, probabilities, truth, labels)}"
    print(shown)
    write_atomically(study.workdir / "examples.txt", shown + "\n")
    study.finish(results, report.table(accuracies, floors, published))
    return results


def predict(config: Config) -> dict[str, float]:
    """Prints the probability of each label of a text, by the best network of a run."""
    saved = best_network(config.checkpoint)
    trained = saved.config(Config)
    tokens, labels = saved.strings("tokens"), saved.strings("labels")
    kind = Kind(**saved.choices("kind", {"direction": DIRECTIONS, "pooling": POOLINGS}))
    sizes, size = (len(tokens), len(labels)), saved.size("vector_size")
    model = saved.restore(lambda: make_model(trained, kind, *sizes, size=size))
    table = places(tokens)
    # Words as in the training text: cut at white space there, or by `tokenise`.
    ways = tuple(config.predict.split()), tokenise(config.predict)
    words = min(ways, key=lambda way: sum(word not in table for word in way))
    unknown = [word for word in words if word not in table]
    if unknown:
        print(f"words that training never showed: {' '.join(unknown)}")
    row = ids(words, table)
    example = Labelled(row[None], np.array([len(row)], np.int32), np.zeros(1, np.int32))
    ask = make_predict(model, probabilities_of, (), by_step=False, batch_size=1)
    (probabilities,) = ask(split_model(model).params, example)
    found = dict(zip(labels, map(float, probabilities), strict=True))
    for label, probability in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"{label}: {probability:.3f}")
    return found


def main(config: Config) -> None:
    predict(config) if config.predict else run(config)
