r"""What keeps a recurrent network from learning its text by heart: one ablation of the lectures' list.

Claim: on a text that an LSTM can learn by heart, dropout of what goes up (Zaremba et al., 2014) and dropout
with one mask for a sequence (Gal and Ghahramani, 2016) lower the loss on text it has not seen.

    python -m experiments.regularisation

trains, for each method, networks of three strengths and three seeds as one population: an LSTM of 96 units on
80,000 characters of the standard library's Python sources, for 30 passes; the next 20,000 are for validation
and test. The strength is chosen by the mean
validation loss; what is compared is the test loss of the epoch with the best validation loss. Beside it stands
the loss of the same parameters on the training text, also without noise.
`--data=PATH/ptb_char` takes another text, `--unit=word` reads words. A method took 3 minutes of one core that had
other work beside it; `--epochs=12 --devices=2` took 10 minutes for all. A killed run goes on with
--resume --workdir=RUN, method by method.

Protocol: Adam at .003, gradients clipped to norm 1, windows of 50 tokens in 32 rows, the state carried from
window to window. Differences from the method "none" are paired by seed, with 95 % intervals.
"""

import dataclasses
import time
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.common import cli, plots, tables
from experiments.common.intervals import half_width, of_finished
from experiments.common.study_run import StudyRun, open_study
from experiments.regularisation.methods import METHODS
from experiments.regularisation.training import Member, Sizes, Text, trained
from seqjax.data import build_vocabulary, evaluation_rows, load_text, training_rows
from seqjax.devices.mesh import use_cpu_devices
from seqjax.errors import check_positive, check_rate
from seqjax.runs.study import Unit
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
    methods: str = cli.option(",".join(METHODS), f"what to compare, some of {', '.join(METHODS)}")
    hidden_size: int = cli.option(96, "number of units")
    seq_len: int = cli.option(50, "number of steps of truncated back-propagation through time")
    batch_size: int = cli.option(32, "number of rows that are read in parallel")
    epochs: int = cli.option(30, "number of passes over the training text")
    learning_rate: float = cli.option(0.003, "learning rate of Adam")
    data: str = cli.option("stdlib", "stdlib, hf:NAME[/CONFIG], or a path to text files")
    unit: str = cli.option("char", "what a token is", choices=("char", "word"))
    max_vocabulary: int = cli.option(10000, "number of most frequent tokens to keep")
    max_chars: int = cli.option(
        100_000, "number of characters to use of a text in one piece, or of each split; 0 for all"
    )
    seeds: int = cli.option(3, "number of networks of each method and strength")
    devices: int = cli.option(
        1, "number of CPU cores, or other devices, that share the networks", may_differ=True
    )
    seed: int = cli.option(0, "seed of the study")
    workdir: str = cli.workdir_option("regularisation")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("hidden_size", "seq_len", "batch_size", "epochs", "max_vocabulary", "devices"):
            check_positive(f"--{name}", getattr(self, name), at_most=2**16)
        check_positive("--seeds", self.seeds, at_most=1000)
        cli.check_seed(self.seed, self.seeds)
        check_rate("--learning_rate", self.learning_rate)
        cli.chosen("--methods", self.methods, tuple(METHODS))


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes table.txt, results.json and the figure."""
    use_cpu_devices(config.devices)
    names = cli.chosen("--methods", config.methods, tuple(METHODS))
    text, sizes = load(config)
    units: dict[str, Unit] = {name: partial(measured, name, config, sizes, text) for name in names}
    expect = (
        f"{text.train.inputs.size:,} tokens of {sizes.vocabulary} kinds; {len(units)} methods,"
        f" up to {3 * config.seeds} networks of each"
    )
    with open_study("regularisation", config, expect=expect) as study:
        return finish(study, study.rows(units, "methods.jsonl"))


def load(config: Config) -> tuple[Text, Sizes]:
    """The text that the config names, in rows, and the sizes of its networks."""
    splits = load_text(
        config.data,
        validation_fraction=0.1,
        test_fraction=0.1,
        max_chars=config.max_chars,
        leave_out=config.workdir,
    )
    vocabulary = build_vocabulary(config.unit, splits.train, config.max_vocabulary)
    train, validation, test = (vocabulary.encode(part).ids for part in splits)
    text = Text(
        training_rows(train, config.batch_size, config.seq_len),
        evaluation_rows(validation, config.batch_size, config.seq_len),
        evaluation_rows(test, config.batch_size, config.seq_len),
    )
    return text, Sizes(
        len(vocabulary),
        config.hidden_size,
        config.seq_len,
        config.batch_size,
        config.epochs,
        config.learning_rate,
    )


def measured(name: str, config: Config, sizes: Sizes, text: Text, key: Array) -> dict[str, Any]:
    """The row of a method: every strength with every seed. Seeds are the same for all methods."""
    del key
    start = time.monotonic()
    strengths = METHODS[name].strengths
    seeds = config.seed + np.arange(config.seeds)
    members = Member(
        jnp.asarray(np.repeat(strengths, config.seeds), jnp.float32),
        jnp.asarray(np.tile(seeds, len(strengths)), jnp.int32),
    )
    row = trained(METHODS[name], sizes, text, members, config.devices)
    return {**row, "seconds": time.monotonic() - start}


def finish(study: StudyRun, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Chooses strengths, draws, prints and writes what was found."""
    seeds = study.config.seeds
    chosen = {name: best_strength(row, seeds) for name, row in rows.items()}
    base = chosen.get("none")
    lines = []
    for name, found in sorted(chosen.items(), key=lambda item: _mean(item[1]["test"])):
        test = np.array(found["test"])
        change = test - np.array(base["test"]) if base is not None else np.full(len(test), np.nan)
        lines.append(
            [
                name,
                f"{found['strength']:g}" if found["strength"] else "",
                of_finished(test),
                of_finished(change) if base is not None and name != "none" else "",
                of_finished(np.array(found["train"])),
                f"{np.mean(found['epoch']):.0f}",
                f"{found['seconds']:.1f}",
            ]
        )
    head = ["method", "strength", "test nats", "less none", "train", "best epoch", "s/network"]
    figure(study, chosen)
    table = tables.table(head, lines)
    results = {"chosen": chosen, "all": rows}
    study.finish(results, table)
    return results


def _mean(values: list[float]) -> float:
    """Of those that are finite; infinite if none is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.inf


def best_strength(row: dict[str, Any], seeds: int) -> dict[str, Any]:
    """What a method reaches at the strength whose mean validation loss is lowest."""
    by_strength = {
        key: np.array(row[key], float).reshape(-1, seeds)
        for key in ("strength", "validation", "test", "train", "epoch")
    }
    means = by_strength["validation"].mean(1)
    place = 0 if np.isnan(means).all() else int(np.nanargmin(means))  # all diverged
    found = {key: values[place].tolist() for key, values in by_strength.items()}
    return {
        **found,
        "strength": found["strength"][0],
        "seconds": row["seconds"] / len(row["test"]),
    }


def figure(study: StudyRun, chosen: dict[str, dict[str, Any]]) -> None:
    """Test loss of each method beside the loss on what it was trained on, best first."""
    finished = [name for name, found in chosen.items() if np.isfinite(found["test"]).any()]
    order = sorted(finished, key=lambda name: _mean(chosen[name]["test"]))
    with plots.panels(study.workdir / "regularisation.png") as (axes,):
        for place, name in enumerate(order):
            for split, colour, mark in (("test", 0, "o"), ("train", 1, "s")):
                values = np.array(chosen[name][split])
                values = values[np.isfinite(values)]
                half = half_width(values)
                error = None if np.isnan(half) else [[half], [half]]
                axes.errorbar(
                    values.mean(),
                    -place,
                    xerr=error,
                    fmt=mark,
                    color=plots.COLOURS[colour],
                    capsize=3,
                    label=f"{split} text" if place == 0 else None,
                )
        if "none" in finished:
            axes.axvline(_mean(chosen["none"]["test"]), color="0.6", linewidth=1, linestyle="--")
        axes.set_yticks([-i for i in range(len(order))], order)
        axes.legend(frameon=False)
        plots.label(
            axes,
            xlabel="nats per token",
            ylabel="",
            title="LSTM, by what keeps it from learning by heart",
        )
