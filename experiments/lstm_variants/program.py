"""The LSTM and eight variants, each at its best over a random search (Greff et al., 2017).

Claim: on JSB Chorales the forget gate and the tanh of the output matter (variants NFG and NOAF are
significantly worse, as is FGR), the other gates, the peepholes and the coupled gates do not; the
learning rate explains more than two thirds of the variance, and its interaction with the size is
small. Source: K. Greff, R. K. Srivastava, J. Koutnik, B. R. Steunebrink and J. Schmidhuber, "LSTM: A
Search Space Odyssey", IEEE Trans. Neural Networks and Learning Systems 28, 2017.

    python -m experiments.lstm_variants

needs no data: it trains on chords from a Markov chain of known entropy, in 3 minutes on 2 CPU cores. The
published task, in the form of `seqjax.data.sets.piano_rolls`:

    python -m experiments.lstm_variants --task=music --data_dir=PATH --trials=200 --max_epochs=150

Protocol, as published: hidden units log-uniform in [20, 200], learning rate log-uniform in [1e-6, 1e-2],
multiplied by 1 - momentum, on a loss summed over time; 1 - momentum log-uniform in [.01, 1]; Gaussian
noise of standard deviation uniform in [0, 1] added to the inputs; Nesterov's momentum, one sequence an
update, weights from N(0, .1), no clipping; a trial stops after 15 epochs without a better validation,
or 150. Each variant draws its own trials.

The comparison was fixed before any result was seen: of each variant the best tenth of its trials by
validation (never fewer than 5), their test results against vanilla's by Welch's t-test, p = .05. In
the shares of the variance a trial that ended above the independent notes counts as these do.

The trials of a variant are taken in blocks of 32, and every variant's block is trained before the next
block of any, so that at any time all variants have about as many trials. Within its block they are
sorted by size and trained side by side in chunks; a chunk is one compiled program (whose arrays have
the size of its largest trial, from which a smaller one's first weights are cut). Every trial is a line
of trials.jsonl. A killed run goes on with `--resume --workdir=...`; `--analyse_only --workdir=...`
analyses a run, finished or under way, and trains nothing. Every core trains a chunk of its own, or by
`--engine=ray` and `slurm` every core of a cluster, and a chunk that is cut off begins again; with
`--engine=here` chunks are trained one after the other, and one that is cut off goes on in its middle.
"""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.common import cli
from experiments.common.engines import where
from experiments.common.study_run import open_study, write_table
from experiments.lstm_variants import analysis, figures, tasks
from experiments.lstm_variants.config import NAME, Config
from experiments.lstm_variants.search import search, search_elsewhere
from seqjax.devices.mesh import use_cpu_devices
from seqjax.files.json import read_object


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes trials.jsonl, results.json, table.txt and figures."""
    if config.analyse_only:
        return analyse_only(Path(config.workdir).expanduser())
    use_cpu_devices(config.devices)
    task = tasks.load(config.task, config.data_dir, config.seed, config.skip)
    with open_study(NAME, config, expect=expectation(config, task)) as study:
        (search if where(config) == "here" else search_elsewhere)(config, task, study.workdir)
        table, results = analyse(study.workdir, dataclasses.asdict(config))
        study.finish(results, table)
    return results


def expectation(config: Config, task: tasks.Task) -> str:
    """The sizes of the data and of the search, and how long it takes."""
    sizes = ", ".join(
        f"{len(split)} {name}"
        for name, split in zip(("train", "valid", "test"), task.sequences, strict=False)
    )
    return (
        f"{config.task}: sequences: {sizes}; {config.trials * len(config.names())} trials; about 3"
        " minutes on 2 CPU cores without flags, and 8 s a trial of 60 epochs on JSB Chorales"
    )


def analyse_only(workdir: Path) -> dict[str, Any]:
    """Analyses the trials of a run, finished or under way; writes table.txt and the figures."""
    saved = cli.checked(Config, read_object(workdir / "config.json"), str(workdir))
    config = Config(**saved | {"workdir": str(workdir)})
    table, results = analyse(workdir, dataclasses.asdict(config))
    write_table(workdir, table)
    return results


def analyse(workdir: Path, ranges: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The table and the results, from trials.jsonl and the ranges of the search; draws the figures."""
    task, variants = analysis.read_trials(workdir / "trials.jsonl")
    shares = analysis.variance_shares(task, variants, ranges)
    results = analysis.analyse(task, variants, shares)
    figures.draw(workdir, results, variants, shares, ranges)
    return analysis.table(results), results
