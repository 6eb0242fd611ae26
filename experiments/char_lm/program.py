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

import time
from pathlib import Path
from typing import Any

import jax

from experiments.char_lm.config import DEFAULT_STEPS, Config
from experiments.char_lm.network import build
from experiments.char_lm.report import report
from experiments.char_lm.sampling import encode_prime, sample_only, sample_text
from experiments.char_lm.text import Baseline, load_data, ngram_baseline, shown, units
from experiments.common.devices import with_devices
from experiments.common.language_models import (
    MOST_AT_ONCE,
    Data,
    Program,
    go_back_from_spikes,
    most_in_a_row,
    placed,
    say_skipped,
)
from seqjax.files.json import write_json
from seqjax.runs.session import Session, open_run
from seqjax.training.fit import fit
from seqjax.training.language_modelling import make_evaluate
from seqjax.training.step import TrainState, check_applied


def run(config: Config) -> dict[str, Any]:
    """Trains, and returns the numbers of results.json."""
    start = time.monotonic()
    config = with_devices(config)
    data = load_data(config)
    sizes = ", ".join(f"{len(ids):,} {split}" for split, ids in data.streams.items() if len(ids))
    print(f"{config.data}: characters: {sizes}; {len(data.vocabulary)} kinds", flush=True)
    encode_prime(config.prime, config.data, data.vocabulary)  # an error comes now, not at the end
    steps_per_epoch = data.updates_per_epoch(config.seq_len)
    num_steps = config.steps or config.epochs * steps_per_epoch or DEFAULT_STEPS
    program = build(config, len(data.vocabulary), num_steps, steps_per_epoch)
    program, data = placed(config, program, data)
    with open_run(config, name="char_lm") as workdir:
        write_json(workdir / "vocabulary.json", data.vocabulary.tokens)
        count = sum(x.size for x in jax.tree.leaves(program.state.params))
        print(f"{config.layers} x {config.hidden_size} {config.cell}, {count:,} parameters")
        epochs = num_steps / steps_per_epoch
        print(f"{num_steps:,} updates, {epochs:.2f} epochs; writing to {workdir}", flush=True)
        baseline = ngram_baseline(config, data)
        state = train(config, data, program, num_steps, baseline, workdir)
        return report(config, data, program, state, baseline, workdir, start)


def train(
    config: Config,
    data: Data,
    program: Program,
    num_steps: int,
    baseline: Baseline,
    workdir: Path,
) -> TrainState:
    """Trains from the start or the last checkpoint; returns the state of the best validation."""
    evaluate = make_evaluate(program.graphdef, config.seq_len)
    log_every = max(1, min(config.eval_every // 10, MOST_AT_ONCE))
    chunks: dict[str, Any] = {
        "num_steps": num_steps,
        "ends": (log_every, config.eval_every, config.sample_every, config.save_every),
        "most_in_a_row": most_in_a_row(config),
    }
    with Session(
        workdir, config, program.state, num_steps=num_steps, identity=data.identity()
    ) as session:
        state = session.state
        for chunk in fit(program.steps, state, data.rows, **chunks):
            step, loss = chunk.step, chunk.metrics["loss"]
            say_skipped(session, chunk)
            go_back_from_spikes(session, chunk, config.spike_factor)
            session.log(
                step,
                "train",
                **units(loss),
                grad_norm=chunk.metrics["grad_norm"],
                learning_rate=float(program.schedule(step - 1)),
                skipped=int(chunk.state.skipped),
            )
            session.show(step, f"train {shown(loss)}")
            if config.sample_every and step % config.sample_every == 0 and step < num_steps:
                how = (config, program.graphdef, chunk.state.params, data.vocabulary)
                session.say(f"--- sample at step {step}\n{sample_text(*how, length=200)}\n---")
            evaluated = step % config.eval_every == 0 or step == num_steps
            if evaluated and "validation" in data.held_out:
                loss = float(evaluate(chunk.state.params, data.held_out["validation"]))
                session.log(step, "validation", **units(loss))
                session.say(f"step {step}: validation {shown(loss)}{baseline.text}")
                session.keep_best(chunk.state, loss)
            due = bool(config.save_every and step % config.save_every == 0)
            session.save(chunk.state, due=due or evaluated)
            state = chunk.state
        check_applied(state)
        return session.best(state)


def main(config: Config) -> None:
    sample_only(config) if config.sample_only else run(config)
