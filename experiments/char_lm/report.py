"""What a run of the character model says at its end."""

import time
from pathlib import Path
from typing import Any

import jax

from experiments.char_lm.config import Config
from experiments.char_lm.sampling import sample_text
from experiments.char_lm.text import Baseline, shown, units
from experiments.common import plots
from experiments.common.language_models import Data, Program
from seqjax.files.json import read_lines, write_atomically
from seqjax.runs.results import write_results
from seqjax.training.language_modelling import make_evaluate
from seqjax.training.step import TrainState, fault_of


def report(
    config: Config,
    data: Data,
    program: Program,
    state: TrainState,
    baseline: Baseline,
    workdir: Path,
    start: float,
) -> dict[str, Any]:
    """Evaluates, samples, draws, writes results.json, and prints; returns the results."""
    results = evaluate_all(config, data, program, state, baseline)
    draw_curve(workdir, config, baseline)
    text = sample_text(
        config, program.graphdef, state.params, data.vocabulary, length=config.length
    )
    write_atomically(workdir / "sample.txt", text + "\n")
    seconds = time.monotonic() - start
    write_results(workdir, experiment="char_lm", config=config, results=results, seconds=seconds)
    print(f"--- sample of the best model, temperature {config.temperature}\n{text}\n---")
    for split in data.held_out:
        print(f"{split}: {shown(results[f'{split}_loss'])}{baseline.text}")
    if results["skipped_updates"]:
        why = f", {fault}" if (fault := fault_of(state)) else ""
        print(f"{results['skipped_updates']} updates were skipped{why}")
    print(f"{seconds / 60:.1f} minutes; metrics.jsonl, curve.png, sample.txt, results.json,")
    print(f"vocabulary.json, checkpoints/ and tensorboard/ are in {workdir}")
    return results


def evaluate_all(
    config: Config, data: Data, program: Program, state: TrainState, baseline: Baseline
) -> dict[str, Any]:
    """The numbers of results.json."""
    evaluate = make_evaluate(program.graphdef, config.seq_len)
    results: dict[str, Any] = {"step_of_best_validation": int(state.step)}
    for split, rows in data.held_out.items():
        loss = float(evaluate(state.params, rows))
        results |= {f"{split}_{unit}": value for unit, value in units(loss).items()}
    results |= {f"ngram_{unit}": value for unit, value in baseline.units.items()}
    results["skipped_updates"] = int(state.skipped)
    if fault := fault_of(state):
        results["not_finite"] = fault
    results["parameters"] = sum(x.size for x in jax.tree.leaves(state.params))
    return results


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
