r"""Networks over trees: formulas deeper than in training, and the sentiment of every phrase.

Claim: a network that composes the parts of a formula along its brackets computes formulas of twice the depth
of those it was trained on; an LSTM that reads the same brackets from left to right, and is told the same
values, does not. (Bowman et al., 2015, for artificial logic; Nangia and Bowman, 2018, for ListOps.)

    python -m experiments.trees

trains both on boolean formulas and on ListOps-lite (MIN, MAX, MED and SM, the sum modulo 10) of depths 1 to
4, and draws accuracy against depth, in some minutes on 2 CPU cores. With

    python -m experiments.trees --data=PATH/sst_trees --seeds=3

a binary Tree-LSTM (Tai, Socher and Manning, 2015) learns the labels of all phrases of the Stanford Sentiment
Treebank by their protocol: 150 units, batches of 25 trees, AdaGrad at .05 (words' vectors .1), half the
classifier's inputs dropped, L2 of 1e-4. Published: 43.9 % of the roots right with random vectors, 82.0 % with
--classes=2. The best epoch by dev roots is the one that is tested. --cell=child_sum, rnn or rntn for the
others, and

    python -m experiments.trees --checkpoint=RUN --predict="(2 (2 not) (2 bad))"

labels a tree by a saved network; the labels that are given count for nothing.
"""

from typing import Any

from experiments.common.epochs import train_networks
from experiments.common.study_run import StudyRun, open_study
from experiments.trees import formulas, report, sentiment
from experiments.trees.baselines import baselines
from experiments.trees.config import Config
from experiments.trees.predict import predict

__all__ = ["Config", "main", "run"]


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes the table, the figure and results.json."""
    if config.data:
        corpus = sentiment.load_corpus(config)
        expect = f"{len(corpus.train):,} trees, {len(corpus.names):,} words with a vector"
        with open_study("trees", config, expect=expect) as study:
            return run_treebank(study, corpus)
    expect = "some minutes on 2 CPU cores with the default flags"
    with open_study("trees", config, expect=expect) as study:
        return run_formulas(study)


def run_formulas(study: StudyRun) -> dict[str, Any]:
    """Both networks on formulas."""
    config = study.config
    rows = train_networks(study, formulas.networks(config))
    report.formulas_figure(study.workdir / "depth.png", config, rows)
    study.finish({"networks": rows}, report.formulas_table(config, rows))
    return {"networks": rows}


def run_treebank(study: StudyRun, corpus: sentiment.Corpus) -> dict[str, Any]:
    """Networks on a treebank, beside baselines."""
    config = study.config
    floors = baselines(corpus)
    rows = train_networks(study, sentiment.networks(config, corpus))
    report.treebank_figure(study.workdir / "confusion.png", config, rows)
    results = {"networks": rows, "baselines": floors}
    print(report.examples_text(config, rows))
    print(report.confusion_text(config, rows))
    study.finish(results, report.treebank_table(config, rows, floors))
    return results


def main(config: Config) -> None:
    predict(config) if config.predict else run(config)
