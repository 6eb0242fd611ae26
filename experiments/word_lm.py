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
from contextlib import closing
from pathlib import Path

from flax import nnx

from experiments.common import cli, plots
from seqjax import init, lstm
from seqjax.data import batch_at, build_vocabulary, evaluation_rows, load_text, training_rows
from seqjax.devices.mesh import batch_mesh, use_cpu_devices
from seqjax.errors import InputError, check_not_negative, check_positive, check_rate
from seqjax.files.json import read_lines, read_object, write_json
from seqjax.models import LanguageModel
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.metrics import Records
from seqjax.runs.progress import Progress
from seqjax.runs.results import write_results
from seqjax.runs.stopping import Stopped, Stopper
from seqjax.runs.workdir import check_same, open_workdir
from seqjax.training.language_modelling import make_evaluate, make_loss, split_model
from seqjax.training.optimizers import make_optimizer, make_schedule
from seqjax.training.place import place_training
from seqjax.training.step import check_progress, init_train_state, make_train_step, make_train_steps

PENN_TREEBANK_WORDS = 929_589  # by which its training text is known
PUBLISHED = {"validation_perplexity": 120.7, "test_perplexity": 114.5}


@dataclasses.dataclass(frozen=True)
class Config:
    hidden_size: int = cli.option(200, "units in each of the layers, and in a word's vector")
    layers: int = cli.option(2, "number of LSTM layers")
    init_scale: float = cli.option(0.1, "all parameters start from U(-init_scale, init_scale)")
    dropout: float = cli.option(0.0, "share of units dropped on non-recurrent connections")
    seq_len: int = cli.option(20, "steps of truncated back-propagation through time")
    batch_size: int = cli.option(20, "rows read in parallel")
    learning_rate: float = cli.option(1.0, "of plain SGD")
    decay_after: int = cli.option(4, "epochs at the full learning rate")
    decay_factor: float = cli.option(0.5, "factor on the learning rate at every later epoch")
    clip_norm: float = cli.option(5.0, "largest norm of the gradient; 0 for no clipping")
    epochs: int = cli.option(13, "passes over the training text", may_differ=True)
    max_vocabulary: int = cli.option(10000, "most frequent words kept, <unk> included")
    data: str = cli.option("stdlib", "stdlib, hf:NAME[/CONFIG], or a path to text files")
    max_chars: int = cli.option(1_000_000, "characters of each split that are used; 0 for all")
    devices: int = cli.option(
        1, "local devices (CPU cores, GPUs) that share each batch", may_differ=True
    )
    save_seconds: float = cli.option(
        300.0, "longest time between saves; 0: after epochs only", may_differ=True
    )
    seed: int = cli.option(0, "of the parameters and dropout masks")
    workdir: str = cli.workdir_option("word_lm")
    resume: bool = cli.resume_option()

    def __post_init__(self):
        for name in ("hidden_size", "layers", "seq_len", "batch_size", "epochs", "devices"):
            check_positive(f"--{name}", getattr(self, name))
        check_positive("--layers", self.layers, at_most=64)
        check_positive("--hidden_size", self.hidden_size, at_most=2**16)
        check_rate("--init_scale", self.init_scale)
        check_not_negative("--save_seconds", self.save_seconds)
        if self.resume and not self.workdir:
            raise InputError("--resume needs the --workdir of an earlier run.")


def run(config: Config) -> dict[str, float]:
    """Trains, evaluates after each epoch, and returns the numbers of results.json."""
    with open_workdir(config.workdir, name="word_lm", resume=config.resume) as workdir:
        return train_and_report(config, workdir)


def train_and_report(config: Config, workdir: Path) -> dict[str, float]:
    start = time.monotonic()
    use_cpu_devices(config.devices)
    mesh = batch_mesh(config.devices)
    splits = load_text(
        config.data, validation_fraction=0.05, test_fraction=0.05, max_chars=config.max_chars
    )
    vocabulary = build_vocabulary("word", splits.train, config.max_vocabulary)
    train, validation, test = (vocabulary.encode(text) for text in splits)
    rows = training_rows(train.ids, config.batch_size, config.seq_len)
    validation_rows = evaluation_rows(validation.ids, config.batch_size, config.seq_len)
    test_rows = evaluation_rows(test.ids, 1, config.seq_len)
    steps_per_epoch = rows.inputs.shape[1] // config.seq_len
    num_steps = config.epochs * steps_per_epoch

    draw = init.uniform(config.init_scale)
    cell = lstm(config.hidden_size, kernel_init=draw, recurrent_init=draw, bias_init=draw)
    model = LanguageModel(
        len(vocabulary),
        [cell] * config.layers,
        embedding_size=config.hidden_size,
        dropout=config.dropout,
        initializer=draw,
        rngs=nnx.Rngs(config.seed),
    )
    graphdef, params = split_model(model)
    schedule = make_schedule(
        "step",
        config.learning_rate,
        num_steps=num_steps,
        steps_per_epoch=steps_per_epoch,
        decay_after=config.decay_after,
        decay_factor=config.decay_factor,
    )
    optimizer = make_optimizer("sgd", schedule, clip_norm=config.clip_norm)
    steps = make_train_steps(
        make_train_step(make_loss(graphdef), optimizer, config.seed),
        lambda rows, step: batch_at(rows, config.seq_len, step),
    )
    evaluate = make_evaluate(graphdef, config.seq_len)
    state = init_train_state(params, optimizer, model.initial_state(config.batch_size))
    state, rows = place_training(mesh, state, rows)

    checkpoints = Checkpoints(workdir / "checkpoints" / "last")
    if config.resume:
        check_same(read_object(workdir / "config.json"), config, workdir)
        if checkpoints.exists():  # not if it was killed before the first save
            state = checkpoints.restore(state)
    write_json(workdir / "config.json", dataclasses.asdict(config))
    records = Records(workdir, resume_step=int(state.step))
    words = f"{len(train.ids):,}/{len(validation.ids):,}/{len(test.ids):,} words"
    print(f"{words} of {len(vocabulary):,} kinds; {num_steps:,} updates; writing to {workdir}")

    progress = Progress(num_steps, int(state.step))
    log_every = max(1, steps_per_epoch // 20)

    def save() -> None:
        checkpoints.save(state, {"config": dataclasses.asdict(config)})

    saved_at = time.monotonic()
    with Stopper() as stopper, closing(progress), closing(records), closing(checkpoints):
        while (step := int(state.step)) < num_steps:
            epoch_end = (step // steps_per_epoch + 1) * steps_per_epoch
            chunk_end = min(epoch_end, (step // log_every + 1) * log_every)
            state, metrics = steps(state, rows, chunk_end - step)
            check_progress(state, most_in_a_row=100)
            step, loss = chunk_end, float(metrics.values["loss"])
            epoch = step / steps_per_epoch
            records.write(
                step,
                "train",
                loss=loss,
                perplexity=perplexity(loss),
                grad_norm=float(metrics.values["grad_norm"]),
                learning_rate=float(schedule(step - 1)),
            )
            progress.update(step, f"epoch {epoch:.2f}  train perplexity {perplexity(loss):.1f}")
            if step == epoch_end:
                loss = float(evaluate(state.params, validation_rows))
                records.write(step, "validation", loss=loss, perplexity=perplexity(loss))
                progress.print(f"epoch {epoch:.0f}: validation perplexity {perplexity(loss):.2f}")
            due = step == epoch_end or time.monotonic() - saved_at > config.save_seconds > 0
            asked = stopper.requested
            if due or asked:
                save()
                saved_at = time.monotonic()
            if asked:
                raise Stopped(
                    asked, f"step {step} is saved; go on with --resume --workdir={workdir}"
                )

    results = {
        "validation_perplexity": perplexity(float(evaluate(state.params, validation_rows))),
        "test_perplexity": perplexity(float(evaluate(state.params, test_rows))),
        "skipped_updates": int(state.skipped),
    }
    seconds = time.monotonic() - start
    write_results(workdir, experiment="word_lm", config=config, results=results, seconds=seconds)
    lines = plots.by_split(read_lines(workdir / "metrics.jsonl"), "perplexity")
    epochs = {
        split: ([step / steps_per_epoch for step in steps], values)
        for split, (steps, values) in lines.items()
    }
    plots.curve(
        workdir / "curve.png",
        epochs,
        xlabel="epoch",
        ylabel="perplexity",
        title=f"Word language model, {config.layers} × {config.hidden_size} LSTM",
        levels={"Zaremba et al. (2014), validation": PUBLISHED["validation_perplexity"]}
        if len(train.ids) == PENN_TREEBANK_WORDS
        else {},
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
    cli.run(run, Config)
