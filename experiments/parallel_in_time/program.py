r"""What of a recurrence need not be walked step by step, what it costs, and what such cells can do.

Claim: where a state is affine in itself, all steps are one scan of log T levels, exactly; where it contracts,
Newton's method finds all steps in a number of iterations that hardly depends on T, and where it is chaotic it
does not. (Lim et al., "Parallelizing non-linear sequential models over the sequence length", 2024; Gonzalez
et al., 2024; Feng et al., "Were RNNs all we needed?", 2024.)

    python -m experiments.parallel_in_time

measures (1) iterations of Newton's method, and the largest difference from the loop, for cells of 16 units whose
recurrent weights are .5 to 3 times those they start with, and after training on the adding problem, beside
the largest Lyapunov exponent; (2) seconds, bytes and compile time of one gradient by every way, interleaved, on
the device at hand, and work and depth of the compiled program; (3) the share of symbols given back in selective
copying, at about equal parameters (published, from memory, with 4,096 steps and 16 symbols: minGRU 99.5, minLSTM 96.0;
here shorter strings); (4) running parity, trained on 40 bits and tested on 256 (Beck et al., 2024: sLSTM yes, mLSTM
no); (5) tokens a second in generation against the number of tokens. Parts are chosen by --parts; the first took 7
minutes of one core. A killed run goes on with --resume --workdir=RUN.
"""

import dataclasses
from functools import partial
from typing import Any

from experiments.common import cli, plots, tables
from experiments.common.flag_lists import whole_numbers
from experiments.common.study_run import StudyRun, open_study
from experiments.parallel_in_time import copying, generation, iterations, parity, speed
from seqjax.cells import CELLS
from seqjax.errors import check_positive
from seqjax.fast_scan.parallel import MOST_ITERATIONS
from seqjax.runs.study import Unit
from seqjax.types import Array

PARTS = ("iterations", "speed", "copying", "parity", "generation")
SCALES = (0.5, 1.0, 1.5, 3.0)
NEWTON = ("rnn", "lstm", "gru", "sru", "para_gru", "para_lstm")
TRAINED = ("rnn", "lstm", "gru")
TIMED = ("lru", "min_gru", "para_gru", "lstm")
COUNTING = ("lstm", "gru", "slstm", "min_gru")
WRITTEN = ("rnn", "lstm", "gru", "lru", "min_gru", "min_lstm", "mamba", "gla", "mlstm", "slstm")
COPIED = ("lstm", "gru", "min_gru", "min_lstm", "lru", "mamba", "mlstm")


@dataclasses.dataclass(frozen=True)
class Config:
    parts: str = cli.option(",".join(PARTS), f"what to measure, some of {', '.join(PARTS)}")
    lengths: str = cli.option("100,1000,10000", "lengths T of parts 1 and 2, separated by commas")
    timed: str = cli.option(",".join(TIMED), "cells of part 2, separated by commas")
    batch_size: int = cli.option(4, "number of sequences in part 2")
    hidden_size: int = cli.option(64, "number of units in part 2")
    calls: int = cli.option(5, "number of timed calls of every way")
    train_steps: int = cli.option(2000, "updates of each network of part 1 that is trained")
    copied: str = cli.option(",".join(COPIED), "cells of part 3, separated by commas")
    copy_layers: int = cli.option(3, "number of layers of part 3")
    copy_length: int = cli.option(64, "number of blanks among which the symbols stand")
    copy_symbols: int = cli.option(8, "number of symbols of a string")
    copy_steps: int = cli.option(1500, "updates of each network of part 3")
    copy_batch: int = cli.option(32, "number of strings in a batch of part 3")
    counting: str = cli.option(",".join(COUNTING), "cells of part 4, separated by commas")
    parity_steps: int = cli.option(1500, "updates of each network of part 4")
    written: str = cli.option(",".join(WRITTEN), "cells of part 5, separated by commas")
    seed: int = cli.option(0, "seed of the study")
    workdir: str = cli.workdir_option("parallel_in_time")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("batch_size", "hidden_size", "calls", "train_steps"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        for name in ("copy_length", "copy_symbols", "copy_steps", "copy_batch", "parity_steps"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        check_positive("--copy_layers", self.copy_layers, at_most=100)
        cli.chosen("--parts", self.parts, PARTS)
        cli.chosen("--timed", self.timed, tuple(CELLS))
        for name in ("copied", "counting", "written"):
            cli.chosen(f"--{name}", getattr(self, name), tuple(CELLS))
        whole_numbers("--lengths", self.lengths, at_least=2)


def run(config: Config) -> dict[str, Any]:
    """Measures what is not measured yet; writes table.txt, results.json and the figure."""
    parts = cli.chosen("--parts", config.parts, PARTS)
    lengths = tuple(whole_numbers("--lengths", config.lengths, at_least=2))
    makers = {
        "iterations": newton_units,
        "speed": speed_units,
        "copying": copying_units,
        "parity": parity_units,
        "generation": generation_units,
    }
    units = {name: unit for part in parts for name, unit in makers[part](config, lengths).items()}
    with open_study("parallel_in_time", config, expect=f"{len(units)} measurements") as study:
        return finish(study, study.rows(units, "rows.jsonl"))


def newton_units(config: Config, lengths: tuple[int, ...]) -> dict[str, Unit]:
    units: dict[str, Unit] = {
        f"iterations, {name}, x {scale:g}": partial(
            iterations.at_initialisation, name, scale, lengths
        )
        for name in NEWTON
        for scale in SCALES
    }
    return units | {
        f"iterations, {name}, trained": partial(
            iterations.after_training, name, config.train_steps, lengths
        )
        for name in TRAINED
    }


def speed_units(config: Config, lengths: tuple[int, ...]) -> dict[str, Unit]:
    how = {"batch": config.batch_size, "size": config.hidden_size, "calls": config.calls}

    def unit(name: str, num_steps: int, key: Array) -> dict[str, Any]:
        return speed.measured(name, num_steps, key, **how)

    return {
        f"speed, {name}, T = {num_steps}": partial(unit, name, num_steps)
        for name in cli.chosen("--timed", config.timed, tuple(CELLS))
        for num_steps in lengths
    }


def copying_units(config: Config, lengths: tuple[int, ...]) -> dict[str, Unit]:
    del lengths
    how = {
        "layers": config.copy_layers,
        "length": config.copy_length,
        "symbols": config.copy_symbols,
        "num_steps": config.copy_steps,
        "batch": config.copy_batch,
    }

    def unit(name: str, key: Array) -> dict[str, Any]:
        return copying.measured(name, key, **how)

    return {
        f"copying, {name}": partial(unit, name)
        for name in cli.chosen("--copied", config.copied, tuple(CELLS))
    }


def parity_units(config: Config, lengths: tuple[int, ...]) -> dict[str, Unit]:
    del lengths

    def unit(name: str, key: Array) -> dict[str, Any]:
        return parity.measured(name, key, num_steps=config.parity_steps)

    return {
        f"parity, {name}": partial(unit, name)
        for name in cli.chosen("--counting", config.counting, tuple(CELLS))
    }


def generation_units(config: Config, lengths: tuple[int, ...]) -> dict[str, Unit]:
    how = {"streams": config.batch_size, "size": config.hidden_size, "calls": config.calls}

    def unit(name: str, key: Array) -> dict[str, Any]:
        return generation.measured(name, key, lengths=lengths, **how)

    return {
        f"generation, {name}": partial(unit, name)
        for name in cli.chosen("--written", config.written, tuple(CELLS))
    }


def finish(study: StudyRun, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    parts: dict[str, dict[str, dict[str, Any]]] = {part: {} for part in PARTS}
    for name, row in rows.items():
        part, rest = name.split(", ", 1)
        parts[part][rest] = row
    shown = [
        text(found)
        for text, found in zip(
            (newton_table, speed_table, copying_table, parity_table, generation_table),
            parts.values(),
            strict=True,
        )
        if found
    ]
    if parts["iterations"]:
        figure(study, parts["iterations"])
    study.finish(parts, "\n\n".join(shown))
    return parts


def newton_table(rows: dict[str, dict[str, Any]]) -> str:
    """Iterations by length, "!" where it fell back to the loop, with the largest difference from it."""
    lengths = next(iter(rows.values()))["T"]
    lines = [
        [
            name,
            *(
                f"{count}{'!' if fell else ''} ({error:.0e})"
                for count, fell, error in zip(
                    row["iterations"], row["fell_back"], row["error"], strict=True
                )
            ),
            f"{row['lyapunov']:.3f}",
        ]
        for name, row in rows.items()
    ]
    head = ["Newton's method", *(f"T = {n:,}" for n in lengths), "Lyapunov"]
    return tables.table(head, lines)


def speed_table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        [
            name,
            way,
            f"{1000 * found['seconds']:.1f}",
            f"{row['lax.scan']['seconds'] / found['seconds']:.2f}",
            f"{found['bytes'] / 2**20:.1f}",
            f"{found['compile']:.1f}",
            f"{found['work'] / 1e6:.3g}",
            f"{found['depth']:,.0f}",
        ]
        for name, row in rows.items()
        for way, found in row.items()
    ]
    head = [
        "one gradient",
        "way",
        "ms",
        "times lax.scan",
        "MiB",
        "compile s",
        "work, million",
        "depth",
    ]
    return tables.table(head, lines, flush_left=2)


def copying_table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        [
            name,
            f"{row['units']}",
            f"{row['parameters']:,}",
            f"{row['accuracy']:.3f}",
            f"{row['loss']:.3f}",
        ]
        for name, row in rows.items()
    ]
    return tables.table(
        ["selective copying", "units", "parameters", "symbols right", "nats"], lines
    )


def parity_table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        [name, f"{row['units']}", f"{row['within']:.3f}", f"{row['beyond']:.3f}"]
        for name, row in rows.items()
    ]
    within, beyond = f"right to {parity.LENGTH} bits", f"right after, to {parity.LONGEST}"
    return tables.table(["running parity", "units", within, beyond], lines)


def generation_table(rows: dict[str, dict[str, Any]]) -> str:
    lengths = next(iter(rows.values()))["T"]
    lines = [
        [name, f"{row['state']:,}", *(f"{rate:,.0f}" for rate in row["tokens_per_second"])]
        for name, row in rows.items()
    ]
    head = ["tokens a second", "numbers of state", *(f"{n:,} tokens" for n in lengths)]
    return tables.table(head, lines)


def figure(study: StudyRun, rows: dict[str, dict[str, Any]]) -> None:
    """Iterations against the scale of the recurrent weights, at the longest T.

    What fell back stands at the greatest number of iterations, as an open circle.
    """
    with plots.panels(study.workdir / "iterations.png") as (axes,):
        for place, name in enumerate(NEWTON):
            found = [row for scale in SCALES if (row := rows.get(f"{name}, x {scale:g}"))]
            fell = [row["fell_back"][-1] for row in found]
            counts = [
                MOST_ITERATIONS if fallen else row["iterations"][-1]
                for row, fallen in zip(found, fell, strict=True)
            ]
            colour = plots.COLOURS[place % len(plots.COLOURS)]
            line = plots.LINES[place % len(plots.LINES)]
            axes.plot(SCALES[: len(found)], counts, line, color=colour, label=name)
            for scale, count, fallen in zip(SCALES, counts, fell, strict=False):
                axes.plot(scale, count, "o", color=colour, mfc="white" if fallen else colour)
        axes.legend(frameon=False)
        plots.label(
            axes,
            xlabel="recurrent weights, times those at the start",
            ylabel="iterations",
            title="Newton's method on all steps at once (open: walked step by step after all)",
        )
