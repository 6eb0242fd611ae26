r"""Levels of a platform game, read and written as text.

Claim: a recurrent network that reads levels column by column, up one and down the next, and with the way through
them marked, writes new ones most of which can be finished (A. Summerville and M. Mateas, "Super Mario as a string",
2016).

    python -m experiments.mario

draws 40 levels by a grammar, each of which can be finished, trains an LSTM on 32 of them, lets it write 100, draws
some, and says how many can be finished by a search over jumps, what they are like, and how much of them is copied
from training. With the levels of the Video Game Level Corpus,

    python -m experiments.mario --data=PATH/vglc_mario --game=smb1 --epochs=60 --hidden_size=256

(All 15 levels of smb1 can be finished, 16 of 22 of smb2j.) --nosnaking and --nopath leave out either; --depth adds
marks that tell how far a column is. The network and its n-gram baseline are those of experiments.char_lm, in the
folder `model` of the run. Its loss, in nats a character (a tile, a mark or the end of a column), is the lowest of the
validations on the held-out levels: no level is left that had no part in the choice.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.char_lm.program import Config as TextConfig
from experiments.char_lm.program import run as train_on_text
from experiments.common import cli, tables
from experiments.common.cells import cell_option
from experiments.common.study_run import StudyRun, open_study
from experiments.mario.metrics import copied, mean_of, metrics_of, windows_of
from experiments.mario.pictures import draw
from experiments.mario.text import GAMES, Levels, Way, dump, from_text, load_levels, to_text
from seqjax.errors import InputError, RunError, check_not_negative, check_positive
from seqjax.files.writing import write_atomically
from seqjax.tasks.platformer import Level
from seqjax.training.language_modelling import make_sample
from seqjax.training.modules import split_model
from seqjax.training.saved_models import load_language_model

SHORTEST = 30  # columns of a level that is judged


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = cli.option("grammar", "grammar, or the folder of the corpus's levels")
    game: str = cli.option("smb1", "which levels of the corpus", choices=GAMES)
    snaking: bool = cli.option(True, "whether every second column is read from the sky down")
    path: bool = cli.option(True, "whether the way through a level is marked")
    depth: bool = cli.option(False, "whether marks tell how far a column is")
    cell: str = cell_option()
    layers: int = cli.option(1, "number of recurrent layers")
    hidden_size: int = cli.option(160, "number of units of each layer")
    dropout: float = cli.option(0.0, "share of units dropped on non-recurrent connections")
    epochs: int = cli.option(40, "number of passes over the training levels")
    learning_rate: float = cli.option(5e-3, "highest learning rate")
    levels: int = cli.option(100, "number of levels to write")
    columns: int = cli.option(200, "the most columns of a level that is written")
    temperature: float = cli.option(1.0, "temperature of sampling")
    seed: int = cli.option(0, "seed of the levels, the parameters and the samples")
    workdir: str = cli.workdir_option("mario")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "epochs", "levels", "columns"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**5)
        cli.check_seed(self.seed)
        if self.data == "grammar":
            cli.refuse_unused(self, ("game",), "with --data=grammar")
        check_not_negative("--temperature", self.temperature)
        if self.columns < SHORTEST:
            raise InputError(
                f"--columns must be at least {SHORTEST}, those of a level that is judged, got"
                f" {self.columns}."
            )
        self.text_config(Path(), 0.1)  # checks the others

    def text_config(self, workdir: Path, held_out: float, *, resume: bool = False) -> TextConfig:
        """The run of experiments.char_lm on the levels as text."""
        return TextConfig(
            data=str(workdir / "levels.txt"),
            workdir=str(workdir / "model"),
            validation_fraction=held_out,
            cell=self.cell,
            layers=self.layers,
            hidden_size=self.hidden_size,
            dropout=self.dropout,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=16,
            ngram_order=16,  # a column and a tile
            eval_every=200,
            sample_every=0,
            seed=self.seed,
            resume=resume,
        )


def run(config: Config) -> dict[str, Any]:
    """Trains, writes levels and judges them; returns the numbers of results.json."""
    levels = load_levels(config.data, config.game, config.seed)
    way = Way(config.snaking, config.path, config.depth)
    expect = f"{len(levels.train)} levels to train on, {len(levels.held_out)} held out"
    with open_study("mario", config, expect=expect) as study:
        train, held = to_text(levels.train, way), to_text(levels.held_out, way)
        write_atomically(study.workdir / "levels.txt", train + held)
        share = len(held) / len(train + held)
        begun = (study.workdir / "model" / "config.json").exists()
        resume = config.resume and begun
        loss = train_on_text(config.text_config(study.workdir, share, resume=resume))
        return judge(study, levels, way, loss)


def write_levels(config: Config, model: Path, way: Way, height: int) -> list[Any]:
    """Lets the saved network write levels, each from an empty line on."""
    saved = load_language_model(model)
    marks = config.columns // 10 if way.depth else 0  # of a column of middle depth
    length = config.columns * (height + 1 + marks)
    split = split_model(saved.model)
    sample = make_sample(split.graphdef, length=length, temperature=config.temperature)
    ids, _ = saved.vocabulary.encode("\n")
    prime = jnp.tile(jnp.asarray(ids)[None], (config.levels, 1))
    tokens = sample(split.params, prime, jax.random.key(config.seed))
    found = []
    for row in np.asarray(tokens):
        text = saved.vocabulary.decode(row)
        written = from_text(text.lstrip("\n").rpartition("\n")[0], way, height)
        found.append(written._replace(level=tuple(r[: config.columns] for r in written.level)))
    return found


def judge(study: StudyRun, levels: Levels, way: Way, loss: dict[str, Any]) -> dict[str, Any]:
    """Writes levels, and says what they are like beside those of training."""
    height = len(levels.train[0])
    written = write_levels(study.config, study.workdir / "model", way, height)
    long_enough = [w for w in written if w.level and len(w.level[0]) >= SHORTEST]
    whole = [w.level for w in long_enough]
    if not whole:
        raise RunError("the network wrote no level of 30 columns: train it for more epochs.")
    windows = set(windows_of(levels.train))
    copies = [copied(level, windows) for level in whole]
    held = [copied(level, windows) for level in levels.held_out]
    results: dict[str, Any] = {
        "written": mean_of(whole),
        "training": mean_of(levels.train),
        "held_out": mean_of(levels.held_out),
        "num_written": len(whole),
        "copied": float(np.mean(copies)),
        "copied_held_out": float(np.mean(held)),
        "bad_columns": sum(w.bad_columns for w in written),
        "marked": marked_share(long_enough) if way.path else None,
        "path_agrees": path_agreement(written) if way.path else None,
        "loss": loss,
    }
    write_atomically(study.workdir / "written.json", dump(whole))
    pictured: list[tuple[str, Level]] = [
        (f"written {i}", level) for i, level in enumerate(whole[:4])
    ]
    pictured += [("of training", levels.train[0]), ("held out", levels.held_out[0])]
    draw(study.workdir / "levels.png", pictured)
    study.finish(results, table(results))
    return results


def marked_share(written: list[Any]) -> float:
    """The share of the tiles that the network itself marked as the way."""
    shares = []
    for level, path, _ in written:
        columns = len(level[0])  # what was written beyond them is left out
        inside = [place for place in path if place[1] < columns]
        shares.append(len(inside) / (len(level) * columns))
    return float(np.mean(shares))


def path_agreement(written: list[Any]) -> float:
    """The share of levels that can be finished among those whose marked path reaches their last column."""
    reach = [
        w for w in written if w.level and any(column == len(w.level[0]) - 1 for _, column in w.path)
    ]
    return float(np.mean([metrics_of(w.level)["finished"] for w in reach])) if reach else 0.0


def table(results: dict[str, Any]) -> str:
    """One line for each kind of level, and what the network's loss is beside n-grams'."""
    names = ("finished", "empty", "interesting", "on_path", "leniency", "linearity")
    shares = {"written": results["copied"], "held_out": results["copied_held_out"]}
    lines = [
        [
            kind.replace("_", " "),
            *(f"{results[kind][name]:.3f}" for name in names),
            f"{shares[kind]:.3f}" if kind in shares else "",
        ]
        for kind in ("training", "held_out", "written")
    ]
    if results["marked"] is not None:
        share = f"{results['marked']:.3f} of the tiles that were written are marked as the way\n"
    else:
        share = ""
    text = tables.table(["levels", *(n.replace("_", " ") for n in names), "copied windows"], lines)
    return f"{text}\n{share}{results['num_written']} levels were written, {results['bad_columns']} lines no column"
