r"""A character language model on real text, beside an n-gram model of the same text.

Claim: after minutes on two CPU cores an LSTM writes text that looks like its source, and predicts
held-out text better than a smoothed n-gram model counted on the same training text.

    python -m experiments.char_lm

With no flag it reads the Python sources of the running interpreter's standard library, trains for
about 3 minutes on 2 CPU cores, and writes metrics, checkpoints, the curve and samples to
runs/char_lm-DATE-TIME. Loss is in nats per character, and in bits (nats / ln 2).

    python -m experiments.char_lm --sample_only --checkpoint=RUN --prime="def " --temperature=0.8

generates from a saved model. The protocol of char-rnn (Karpathy, 2015) on Tiny Shakespeare is

    python -m experiments.char_lm --data=PATH/input.txt --validation_fraction=0.1 --layers=2 \
        --hidden_size=128 --seq_len=50 --batch_size=50 --optimizer=rmsprop --learning_rate=2e-3 \
        --schedule=step --decay_after=10 --decay_factor=0.97 --warmup_steps=0 --clip_norm=0 \
        --clip_value=5 --init_scale=0.08 --epochs=50 --ngram_order=6 --eval_every=1000
"""

import dataclasses
import math
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.common import cli, plots
from seqjax import init
from seqjax.cells import CELLS
from seqjax.data import (
    Rows,
    Vocabulary,
    batch_at,
    build_vocabulary,
    evaluation_rows,
    load_text,
    training_rows,
)
from seqjax.devices.mesh import batch_mesh, use_cpu_devices
from seqjax.errors import InputError, check_fraction, check_not_negative, check_positive, check_rate
from seqjax.files.json import read_lines, read_object, write_atomically, write_json
from seqjax.models import LanguageModel
from seqjax.models.ngram import witten_bell
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.metrics import Records
from seqjax.runs.progress import Progress
from seqjax.runs.results import write_results
from seqjax.runs.stopping import Stopped, Stopper
from seqjax.runs.workdir import check_same, open_workdir
from seqjax.training.language_modelling import make_evaluate, make_loss, make_sample, split_model
from seqjax.training.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from seqjax.training.place import place_training
from seqjax.training.step import (
    TrainState,
    check_progress,
    fault_of,
    init_train_state,
    make_train_step,
    make_train_steps,
    roll_back,
)

DEFAULT_STEPS = 3000


@dataclasses.dataclass(frozen=True)
class Config:
    # the model
    cell: str = cli.option("lstm", "the recurrent cell", choices=tuple(CELLS))
    layers: int = cli.option(1, "number of recurrent layers")
    hidden_size: int = cli.option(256, "units per layer, and the size of a character's vector")
    dropout: float = cli.option(0.0, "share of units dropped on non-recurrent connections")
    tie_weights: bool = cli.option(False, "use the embedding as the kernel of the head")
    init_scale: float = cli.option(0.0, "all parameters from U(-a, a); 0: each cell's own way")
    # the data
    data: str = cli.option("stdlib", "stdlib, hf:NAME[/CONFIG], or a path to text files")
    validation_fraction: float = cli.option(0.05, "share of the text held out for validation")
    test_fraction: float = cli.option(0.0, "share of the text held out for a final test")
    max_chars: int = cli.option(0, "characters that are used, from the start; 0 for all")
    ngram_order: int = cli.option(5, "order of the n-gram baseline; 0 for none", may_differ=True)
    # training
    seq_len: int = cli.option(100, "steps of truncated back-propagation through time")
    batch_size: int = cli.option(32, "rows read in parallel")
    optimizer: str = cli.option("adam", "the optimizer", choices=OPTIMIZERS)
    learning_rate: float = cli.option(6e-3, "the (highest) learning rate")
    schedule: str = cli.option("cosine", "what the learning rate does", choices=SCHEDULES)
    warmup_steps: int = cli.option(100, "updates over which the learning rate rises from 0")
    decay_after: int = cli.option(10, "epochs at the full rate, for --schedule=step")
    decay_factor: float = cli.option(0.97, "factor per later epoch, for --schedule=step")
    weight_decay: float = cli.option(0.0, "for --optimizer=adamw")
    clip_norm: float = cli.option(5.0, "largest norm of the gradient; 0 for no clipping")
    clip_value: float = cli.option(0.0, "largest entry of the gradient; 0 for no clipping")
    nonfinite: str = cli.option(
        "skip", "an update whose loss or gradient is not finite", choices=("skip", "stop")
    )
    spike_factor: float = cli.option(
        0.0, "loss over the best validation's from which training goes back to that; 0: never"
    )
    steps: int = cli.option(0, f"updates; 0: as --epochs says, or {DEFAULT_STEPS}", may_differ=True)
    epochs: int = cli.option(
        0, "passes over the training text, instead of --steps", may_differ=True
    )
    devices: int = cli.option(
        1, "local devices (CPU cores, GPUs) that share each batch", may_differ=True
    )
    seed: int = cli.option(0, "of the parameters, dropout masks and samples")
    # files and reports
    workdir: str = cli.workdir_option("char_lm")
    resume: bool = cli.resume_option()
    eval_every: int = cli.option(
        500, "updates between validations, each followed by a save", may_differ=True
    )
    save_every: int = cli.option(0, "updates between further saves; 0 for none", may_differ=True)
    save_seconds: float = cli.option(
        300.0, "longest time between saves; 0 for any", may_differ=True
    )
    sample_every: int = cli.option(
        500, "updates between samples; 0 for none on the way", may_differ=True
    )
    # sampling
    sample_only: bool = cli.option(False, "only generate from --checkpoint", may_differ=True)
    checkpoint: str = cli.option(
        "", "for --sample_only: a workdir, or a checkpoint in it", may_differ=True
    )
    prime: str = cli.option(
        "",
        "text to begin with; if empty, a line break, and def for the standard library",
        may_differ=True,
    )
    temperature: float = cli.option(
        0.8, "of sampling; 0 takes the most probable character", may_differ=True
    )
    top_k: int = cli.option(
        0, "sample among the k most probable characters only; 0 for all", may_differ=True
    )
    length: int = cli.option(500, "characters per sample", may_differ=True)

    def __post_init__(self):
        for name in ("seq_len", "batch_size", "length", "eval_every", "devices"):
            check_positive(f"--{name}", getattr(self, name))
        check_positive("--layers", self.layers, at_most=64)
        check_positive("--hidden_size", self.hidden_size, at_most=2**16)
        counts = ("steps", "epochs", "sample_every", "ngram_order", "top_k", "decay_after")
        for name in (*counts, "save_every", "save_seconds", "temperature", "init_scale"):
            check_not_negative(f"--{name}", getattr(self, name))
        check_fraction("--dropout", self.dropout)
        check_rate("--learning_rate", self.learning_rate)
        if self.spike_factor and not 1 < self.spike_factor < math.inf:
            raise InputError(
                f"--spike_factor must be above 1, or 0 for none, got {self.spike_factor}."
            )
        if self.steps and self.epochs:
            raise InputError("give --steps or --epochs, not both.")
        if self.sample_only != bool(self.checkpoint):
            raise InputError("--sample_only and --checkpoint=PATH go together.")


class Program(NamedTuple):
    """What a config compiles to."""

    graphdef: Any
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    state: TrainState


def build(config: Config, vocab_size: int, num_steps: int, steps_per_epoch: int) -> Program:
    """Model, optimizer and first train state."""
    initializer = init.uniform(config.init_scale) if config.init_scale else None
    draw: dict[str, Any] = {}
    if initializer is not None and config.cell != "irnn":  # an IRNN is its initialisation
        draw = {"kernel_init": initializer, "recurrent_init": initializer}
    cell = CELLS[config.cell](config.hidden_size, **draw)
    model = LanguageModel(
        vocab_size,
        [cell] * config.layers,
        embedding_size=config.hidden_size,
        dropout=config.dropout,
        tie_weights=config.tie_weights,
        initializer=initializer,
        rngs=nnx.Rngs(config.seed),
    )
    graphdef, params = split_model(model)
    schedule = make_schedule(
        config.schedule,
        config.learning_rate,
        num_steps=num_steps,
        steps_per_epoch=steps_per_epoch,
        decay_after=config.decay_after,
        decay_factor=config.decay_factor,
        warmup_steps=min(config.warmup_steps, num_steps // 10),
    )
    optimizer = make_optimizer(
        config.optimizer,
        schedule,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        clip_value=config.clip_value,
    )
    state = init_train_state(params, optimizer, model.initial_state(config.batch_size))
    return Program(graphdef, optimizer, schedule, state)


class Data(NamedTuple):
    vocabulary: Vocabulary
    streams: dict[str, np.ndarray]  # each split as ids
    rows: Rows  # for training
    held_out: dict[str, Rows]


def run(config: Config) -> dict[str, Any]:
    """Trains, and returns the numbers of results.json."""
    start = time.monotonic()
    use_cpu_devices(config.devices)
    vocabulary, streams = load_data(config)
    encode_prime(config, vocabulary)
    held_out = {
        split: evaluation_rows(ids, config.batch_size, config.seq_len)
        for split, ids in streams.items()
        if split != "train" and len(ids) > 1
    }
    rows = training_rows(streams["train"], config.batch_size, config.seq_len)
    data = Data(vocabulary, streams, rows, held_out)
    steps_per_epoch = rows.inputs.shape[1] // config.seq_len
    num_steps = config.steps or config.epochs * steps_per_epoch or DEFAULT_STEPS
    program = build(config, len(vocabulary), num_steps, steps_per_epoch)
    with open_workdir(config.workdir, name="char_lm", resume=config.resume) as workdir:
        if config.resume:
            saved = read_object(workdir / "config.json")
            check_same(saved, config, workdir)
        write_json(workdir / "config.json", dataclasses.asdict(config))
        write_json(workdir / "vocabulary.json", vocabulary.tokens)
        sizes = ", ".join(f"{len(ids):,} {split}" for split, ids in streams.items() if len(ids))
        count = sum(x.size for x in jax.tree.leaves(program.state.params))
        print(f"{config.data}: characters: {sizes}; {len(vocabulary)} kinds")
        print(f"{config.layers} x {config.hidden_size} {config.cell}, {count:,} parameters")
        epochs = num_steps / steps_per_epoch
        print(f"{num_steps:,} updates, {epochs:.2f} epochs; writing to {workdir}")
        baseline = ngram_baseline(config, vocabulary, streams)
        state = train(config, data, program, num_steps, baseline, workdir)
        return report(config, data, program, state, baseline, workdir, start)


def train(
    config: Config,
    data: Data,
    program: Program,
    num_steps: int,
    baseline: "Baseline",
    workdir: Path,
) -> TrainState:
    """Trains from the start or the last checkpoint; returns the state of the best validation."""
    mesh = batch_mesh(config.devices)
    state, rows = place_training(mesh, program.state, data.rows)
    last = Checkpoints(workdir / "checkpoints" / "last")
    best = Checkpoints(workdir / "checkpoints" / "best")
    best_loss = math.inf
    if config.resume and last.exists():  # not if it was killed before the first save
        record = last.read_record()
        if record.get("vocabulary") != data.vocabulary.tokens:
            raise InputError(f"--data={config.data} is not the text that {workdir} was trained on.")
        state = last.restore(state)
        saved_loss = record.get("best_loss")
        best_loss = saved_loss if isinstance(saved_loss, float) else math.inf
    best.drop_after(int(state.step))  # of a run that was killed between two saves

    steps = make_train_steps(
        make_train_step(make_loss(program.graphdef), program.optimizer, config.seed),
        lambda rows, step: batch_at(rows, config.seq_len, step),
    )
    evaluate = make_evaluate(program.graphdef, config.seq_len)
    records = Records(workdir, resume_step=int(state.step))
    progress = Progress(num_steps, int(state.step))
    log_every = max(1, min(config.eval_every // 10, 50))
    stops = (log_every, config.eval_every, config.sample_every, config.save_every)

    def save(checkpoints: Checkpoints) -> None:
        record = {
            "config": dataclasses.asdict(config),
            "vocabulary": data.vocabulary.tokens,
            "best_loss": best_loss if best_loss < math.inf else None,  # as JSON has it
        }
        checkpoints.save(state, record)

    saved_at = time.monotonic()
    with ExitStack() as stack:
        stopper = stack.enter_context(Stopper())
        for thing in (progress, records, best, last):
            stack.enter_context(closing(thing))
        while (step := int(state.step)) < num_steps:
            skipped = int(state.skipped)
            end = min(num_steps, *((step // every + 1) * every for every in stops if every))
            state, metrics = steps(state, rows, end - step)
            if int(state.skipped) > skipped:
                progress.print(
                    f"step {end}: {int(state.skipped)} updates skipped: {fault_of(state)}"
                )
                check_progress(state, most_in_a_row=0 if config.nonfinite == "stop" else 100)
            step, loss = end, float(metrics.values["loss"])
            if loss > config.spike_factor * best_loss > 0:
                progress.print(f"step {step}: train {_show(loss)}, back to step {best.steps()[-1]}")
                state = roll_back(state, best.restore(state))
            records.write(
                step,
                "train",
                **_units(loss),
                grad_norm=float(metrics.values["grad_norm"]),
                learning_rate=float(program.schedule(step - 1)),
                skipped=int(state.skipped),
            )
            progress.update(step, f"train {_show(loss)}")
            if config.sample_every and step % config.sample_every == 0 and step < num_steps:
                text = sample_text(config, program, state, data.vocabulary, length=200)
                progress.print(f"--- sample at step {step}\n{text}\n---")
            due = config.save_every and step % config.save_every == 0
            if step % config.eval_every == 0 or step == num_steps:
                due = True
                if "validation" in data.held_out:
                    loss = float(evaluate(state.params, data.held_out["validation"]))
                    records.write(step, "validation", **_units(loss))
                    progress.print(f"step {step}: validation {_show(loss)}{baseline.text}")
                    if loss < best_loss:
                        best_loss = loss
                        save(best)
            due = due or time.monotonic() - saved_at > config.save_seconds > 0
            asked = stopper.requested
            if due or asked:
                save(last)
                saved_at = time.monotonic()
            if asked:
                raise Stopped(
                    asked, f"step {step} is saved; go on with --resume --workdir={workdir}"
                )
        return best.restore(state) if best.exists() else state


def report(
    config: Config,
    data: Data,
    program: Program,
    state: TrainState,
    baseline: "Baseline",
    workdir: Path,
    start: float,
) -> dict[str, Any]:
    """Evaluates, samples, draws, and writes results.json."""
    evaluate = make_evaluate(program.graphdef, config.seq_len)
    results: dict[str, Any] = {"step_of_best_validation": int(state.step)}
    for split, rows in data.held_out.items():
        loss = float(evaluate(state.params, rows))
        results |= {f"{split}_{unit}": value for unit, value in _units(loss).items()}
    results |= {f"ngram_{unit}": value for unit, value in baseline.units.items()}
    results["skipped_updates"] = int(state.skipped)
    if fault := fault_of(state):
        results["not_finite"] = fault
    results["parameters"] = sum(x.size for x in jax.tree.leaves(state.params))
    draw_curve(workdir, config, baseline)
    text = sample_text(config, program, state, data.vocabulary, length=config.length)
    write_atomically(workdir / "sample.txt", text + "\n")
    seconds = time.monotonic() - start
    write_results(workdir, experiment="char_lm", config=config, results=results, seconds=seconds)
    print(f"--- sample of the best model, temperature {config.temperature}\n{text}\n---")
    for split in data.held_out:
        print(f"{split}: {_show(results[f'{split}_loss'])}{baseline.text}")
    if results["skipped_updates"]:
        why = f", {fault}" if fault else ""
        print(f"{results['skipped_updates']} updates were skipped{why}")
    print(f"{seconds / 60:.1f} minutes; metrics.jsonl, curve.png, sample.txt, results.json,")
    print(f"vocabulary.json, checkpoints/ and tensorboard/ are in {workdir}")
    return results


def load_data(config: Config) -> tuple[Vocabulary, dict[str, np.ndarray]]:
    """The vocabulary of the training text, and each split as ids."""
    splits = load_text(
        config.data,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        max_chars=config.max_chars,
    )
    vocabulary = build_vocabulary("char", splits.train)
    streams = {}
    for split, text in splits._asdict().items():
        streams[split], unseen = vocabulary.encode(text)
        if unseen:
            shown = ", ".join(f"{c!r} {n}x" for c, n in unseen.most_common(5))
            print(
                f"{split}: {sum(unseen.values())} characters of {len(unseen)} kinds that training"
                f" never shows are read as <unk>: {shown}{', ...' if len(unseen) > 5 else ''}"
            )
    return vocabulary, streams


class Baseline(NamedTuple):
    units: dict[str, float]  # loss and bits per character on the validation text; {} for none
    text: str  # to stand behind the model's own number


def ngram_baseline(
    config: Config, vocabulary: Vocabulary, streams: dict[str, np.ndarray]
) -> Baseline:
    """The n-gram model of the training text, on the validation text."""
    if not config.ngram_order or len(streams["validation"]) < 2:
        return Baseline({}, "")
    loss = witten_bell(streams["train"], streams["validation"], len(vocabulary), config.ngram_order)
    text = f"{config.ngram_order}-gram, interpolated Witten-Bell"
    print(f"baseline on validation: {_show(loss)} ({text})")
    return Baseline(_units(loss), f"   (validation {config.ngram_order}-gram: {_show(loss)})")


def encode_prime(config: Config, vocabulary: Vocabulary) -> np.ndarray:
    """The characters that a sample begins with, as ids."""
    ids, unseen = vocabulary.encode(prime_of(config))
    if unseen and config.prime:
        shown = ", ".join(repr(c) for c in unseen)
        raise InputError(f"--prime has characters the model never saw: {shown}.")
    return ids


def prime_of(config: Config) -> str:
    """What a sample begins with."""
    return config.prime or ("\ndef " if config.data == "stdlib" else "\n")


def sample_text(
    config: Config, program: Program, state: TrainState, vocabulary: Vocabulary, *, length: int
) -> str:
    """The prime and what the model writes after it."""
    ids = encode_prime(config, vocabulary)
    sample = make_sample(
        program.graphdef, length=length, temperature=config.temperature, top_k=config.top_k
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 2**31 - 1)
    drawn = sample(state.params, jnp.asarray(ids)[None], key)[0]
    return prime_of(config).lstrip("\n") + vocabulary.decode(np.asarray(drawn))


def build_abstractly(config: Config, vocab_size: int) -> Program:
    """The program with shapes for arrays: a config of somebody else takes no memory yet."""
    programs = []

    def first_state() -> TrainState:
        programs.append(build(config, vocab_size, 10, 1))
        return programs[0].state

    state = jax.eval_shape(first_state)
    return programs[0]._replace(state=state)


def sample_only(config: Config) -> str:
    """Generates from a checkpoint, and prints."""
    try:
        path = Path(config.checkpoint).expanduser()
        if (path / "checkpoints").is_dir():
            path = path / "checkpoints"
        if (path / "best").is_dir() or (path / "last").is_dir():
            path = path / ("best" if (path / "best").is_dir() else "last")
    except (OSError, RuntimeError, ValueError) as error:  # too long, nobody's home, a zero byte
        raise InputError(f"--checkpoint={config.checkpoint} is no path: {error}.") from error
    checkpoints = Checkpoints(path)
    record = checkpoints.read_record()
    saved = cli.checked(Config, record.get("config", {}), f"the checkpoint in {path}")
    sampling = ("prime", "temperature", "top_k", "length", "seed", "sample_only", "checkpoint")
    merged = Config(**saved | {name: getattr(config, name) for name in sampling})
    vocabulary = Vocabulary("char", record.get("vocabulary", []))
    program = build_abstractly(dataclasses.replace(merged, seed=0), len(vocabulary))
    state = checkpoints.restore(program.state)
    checkpoints.close()
    text = sample_text(merged, program, state, vocabulary, length=config.length)
    print(text)
    return text


def draw_curve(workdir: Path, config: Config, baseline: Baseline) -> None:
    """Bits per character against updates, the n-gram baseline drawn beside."""
    levels = {}
    if baseline.units:
        levels[f"{config.ngram_order}-gram, validation"] = baseline.units["bits_per_char"]
    plots.curve(
        workdir / "curve.png",
        plots.by_split(read_lines(workdir / "metrics.jsonl"), "bits_per_char"),
        xlabel="updates",
        ylabel="bits per character",
        title=f"{config.layers} × {config.hidden_size} {config.cell}, {Path(config.data).name}",
        levels=levels,
    )


def _units(loss: float) -> dict[str, float]:
    return {"loss": loss, "bits_per_char": loss / math.log(2)}


def _show(loss: float) -> str:
    return f"{loss:.4f} nats = {loss / math.log(2):.4f} bits/char"


def main(config: Config) -> None:
    sample_only(config) if config.sample_only else run(config)
