"""A word language model: the small regularisation-free LSTM of Zaremba et al. (2014).

Claim: two layers of 200 LSTM units, trained as printed, reach a perplexity of 120.7 on the
validation words of the Penn Treebank and of 114.5 on its test words.

    python -m experiments.word_lm --data=PATH/ptb_word --max_chars=0

took 18 minutes on 2 CPU cores. The data directory holds ptb.train.txt, ptb.valid.txt and
ptb.test.txt, plain or .gz. With no flag it runs the same protocol on the first million characters
of the standard library's Python sources, in minutes.

Protocol: 13 epochs; plain SGD, rate 1 for 4 epochs, then halved at each; the gradient of the loss
summed over 20 steps and averaged over 20 rows, clipped to norm 5; all parameters from U(-0.1, 0.1);
state carried from batch to batch, no dropout. Perplexities include <eos>. The validation set is
read in 20 rows, as in training, the test set in one. Source: W. Zaremba, I. Sutskever, O. Vinyals,
"Recurrent Neural Network Regularization", 2014, arXiv:1409.2329; their code keeps two biases where
we keep one.
"""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from experiments.common import cli, plots
from experiments.common.cells import cell_option
from experiments.common.devices import devices_option, with_devices
from experiments.common.language_models import (
    RECURRENT_DROPOUT,
    Data,
    Program,
    check_config,
    digest_of,
    go_back_from_spikes,
    make_cell,
    make_program,
    most_in_a_row,
    placed,
    say_skipped,
)
from seqjax import init
from seqjax.data import build_vocabulary, evaluation_rows, load_text, training_rows
from seqjax.errors import check_positive, check_rate
from seqjax.files.json import read_lines, write_json
from seqjax.runs.results import write_results
from seqjax.runs.session import Session, open_run
from seqjax.training.fit import fit
from seqjax.training.language_modelling import make_evaluate
from seqjax.training.optimizers import make_optimizer, make_schedule
from seqjax.training.step import TrainState, check_applied

PENN_TREEBANK_WORDS = 929_589  # by which its training text is known
PUBLISHED = {"validation_perplexity": 120.7, "test_perplexity": 114.5}


@dataclasses.dataclass(frozen=True)
class Config:
    cell: str = cell_option()
    hidden_size: int = cli.option(
        200, "number of units in each layer, and the size of a word's vector"
    )
    layers: int = cli.option(2, "number of recurrent layers")
    init_scale: float = cli.option(0.1, "draw all parameters from U(-init_scale, init_scale)")
    dropout: float = cli.option(0.0, "share of units dropped on non-recurrent connections")
    same_mask: bool = cli.option(False, "drop the same units at all steps of a window")
    recurrent_dropout: float = cli.option(
        0.0, "share of the recurrence that is dropped in training"
    )
    recurrent_mask: str = cli.option(
        "variational",
        "what recurrent_dropout drops: units of the state, the same at all steps of a window (variational) or"
        " new at each (naive), recurrent weights, or units of the candidate",
        choices=tuple(RECURRENT_DROPOUT),
    )
    tie_weights: bool = cli.option(False, "use the embedding as the kernel of the head")
    seq_len: int = cli.option(20, "number of steps of truncated back-propagation through time")
    batch_size: int = cli.option(20, "number of rows that are read in parallel")
    learning_rate: float = cli.option(1.0, "learning rate of plain SGD")
    decay_after: int = cli.option(4, "number of epochs at the full learning rate")
    decay_factor: float = cli.option(0.5, "factor on the learning rate at every later epoch")
    clip_norm: float = cli.option(
        5.0, "norm to which a larger gradient is scaled down; 0 for no clipping"
    )
    nonfinite: str = cli.option(
        "skip",
        "what to do with an update whose loss or gradient is not finite",
        choices=("skip", "stop"),
    )
    spike_factor: float = cli.option(
        0.0,
        "go back to the best state when the loss is this many times its validation loss; 0: never",
    )
    epochs: int = cli.option(13, "number of passes over the training text", may_differ=True)
    max_vocabulary: int = cli.option(10000, "number of most frequent words to keep, <unk> included")
    data: str = cli.option("stdlib", "stdlib, hf:NAME[/CONFIG], or a path to text files")
    max_chars: int = cli.option(1_000_000, "number of characters of each split to use; 0 for all")
    devices: int = devices_option()
    save_seconds: float = cli.option(
        300.0, "longest time between saves, in seconds; 0: after epochs only", may_differ=True
    )
    seed: int = cli.option(0, "seed of the parameters and the dropout masks")
    log_to: str = cli.log_to_option()
    workdir: str = cli.workdir_option("word_lm")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        check_config(self)
        check_positive("--epochs", self.epochs)
        check_rate("--init_scale", self.init_scale)


def run(config: Config) -> dict[str, float]:
    """Trains, evaluates after each epoch, and returns the numbers of results.json."""
    start = time.monotonic()
    config = with_devices(config)
    data = load_data(config)
    steps_per_epoch = data.updates_per_epoch(config.seq_len)
    program = build(config, len(data.vocabulary), steps_per_epoch)
    program, data = placed(config, program, data)
    with open_run(config, name="word_lm") as workdir:
        write_json(workdir / "vocabulary.json", data.vocabulary.tokens)
        words = "/".join(f"{len(ids):,}" for ids in data.streams.values())
        updates = f"{config.epochs * steps_per_epoch:,} updates"
        print(f"{words} words of {len(data.vocabulary):,} kinds; {updates}; writing to {workdir}")
        state = train(config, data, program, steps_per_epoch, workdir)
        check_applied(state)
        return report(config, data, program, state, steps_per_epoch, workdir, start)


def load_data(config: Config) -> Data:
    """The text that the config names; the test set is read in one row, as published."""
    splits = load_text(
        config.data,
        validation_fraction=0.05,
        test_fraction=0.05,
        max_chars=config.max_chars,
        leave_out=config.workdir,
    )
    vocabulary = build_vocabulary("word", splits.train, config.max_vocabulary)
    streams = {split: vocabulary.encode(text).ids for split, text in splits._asdict().items()}
    rows = training_rows(streams["train"], config.batch_size, config.seq_len)
    held_out = {
        "validation": evaluation_rows(streams["validation"], config.batch_size, config.seq_len),
        "test": evaluation_rows(streams["test"], 1, config.seq_len),
    }
    return Data(vocabulary, streams, rows, held_out, digest_of(splits))


def build(config: Config, vocab_size: int, steps_per_epoch: int) -> Program:
    """Model, updates, and first train state."""
    draw = init.uniform(config.init_scale)
    schedule = make_schedule(
        "step",
        config.learning_rate,
        num_steps=config.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        decay_after=config.decay_after,
        decay_factor=config.decay_factor,
    )
    optimizer = make_optimizer("sgd", schedule, clip_norm=config.clip_norm)
    every = {"kernel_init": draw, "recurrent_init": draw, "bias_init": draw}
    cell = make_cell(config.cell, config.hidden_size, every)
    return make_program(config, cell, vocab_size, optimizer, schedule, draw)


def train(
    config: Config, data: Data, program: Program, steps_per_epoch: int, workdir: Path
) -> TrainState:
    """Trains from the start or the last checkpoint; returns the last state."""
    evaluate = make_evaluate(program.graphdef, config.seq_len)
    num_steps = config.epochs * steps_per_epoch
    chunks: dict[str, Any] = {
        "num_steps": num_steps,
        "ends": (max(1, steps_per_epoch // 20), steps_per_epoch),
        "most_in_a_row": most_in_a_row(config),
    }
    with Session(
        workdir, config, program.state, num_steps=num_steps, identity=data.identity()
    ) as session:
        state = session.state
        for chunk in fit(program.steps, state, data.rows, **chunks):
            epoch, loss = chunk.step / steps_per_epoch, chunk.metrics["loss"]
            say_skipped(session, chunk)
            go_back_from_spikes(session, chunk, config.spike_factor)
            session.log(
                chunk.step,
                "train",
                loss=loss,
                perplexity=perplexity(loss),
                grad_norm=chunk.metrics["grad_norm"],
                learning_rate=float(program.schedule(chunk.step - 1)),
            )
            session.show(chunk.step, f"epoch {epoch:.2f}  train perplexity {perplexity(loss):.1f}")
            at_end = chunk.step % steps_per_epoch == 0
            if at_end:
                loss = float(evaluate(chunk.state.params, data.held_out["validation"]))
                session.log(chunk.step, "validation", loss=loss, perplexity=perplexity(loss))
                session.say(f"epoch {epoch:.0f}: validation perplexity {perplexity(loss):.2f}")
                session.keep_best(chunk.state, loss)
            session.save(chunk.state, due=at_end)
            state = chunk.state
    return state


def report(
    config: Config,
    data: Data,
    program: Program,
    state: TrainState,
    steps_per_epoch: int,
    workdir: Path,
    start: float,
) -> dict[str, float]:
    """Evaluates, draws, writes results.json, and prints; returns the results."""
    evaluate = make_evaluate(program.graphdef, config.seq_len)
    results: dict[str, float] = {
        f"{split}_perplexity": perplexity(float(evaluate(state.params, rows)))
        for split, rows in data.held_out.items()
    }
    results["skipped_updates"] = int(state.skipped)
    seconds = time.monotonic() - start
    write_results(workdir, experiment="word_lm", config=config, results=results, seconds=seconds)
    lines = plots.by_split(read_lines(workdir / "metrics.jsonl"), "perplexity")
    epochs = {
        split: ([step / steps_per_epoch for step in steps], values)
        for split, (steps, values) in lines.items()
    }
    is_treebank = len(data.streams["train"]) == PENN_TREEBANK_WORDS
    levels = {"Zaremba et al. (2014), validation": PUBLISHED["validation_perplexity"]}
    plots.curve(
        workdir / "curve.png",
        epochs,
        xlabel="epoch",
        ylabel="perplexity",
        title=f"Word language model, {config.layers} × {config.hidden_size} {config.cell}",
        levels=levels if is_treebank else {},
        log_y=True,
    )
    for name, published in PUBLISHED.items():
        print(f"{name}: {results[name]:.2f} (Zaremba et al., Penn Treebank: {published})")
    print(f"{seconds / 60:.1f} minutes; everything is in {workdir}")
    return results


def perplexity(loss: float) -> float:
    """exp(loss), infinite where a float cannot hold it."""
    return math.exp(loss) if loss < 700 else math.inf


if __name__ == "__main__":
    cli.run(run, Config, processes=True)
