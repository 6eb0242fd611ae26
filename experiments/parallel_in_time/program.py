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
no); (5) tokens a second in generation against the number of tokens; (6) images read pixel by pixel, at about
equal parameters: scikit-learn's digits, or with --image_data=PATH/mnist those of MNIST. Parts are chosen by
--parts; the first took 7 minutes of one core. A killed run goes on with --resume --workdir=RUN.
"""

import dataclasses
from functools import partial
from typing import Any

from experiments.common import cli, sequential_images
from experiments.common.flag_lists import whole_numbers
from experiments.common.study_run import StudyRun, open_study
from experiments.parallel_in_time import (
    copying,
    generation,
    iterations,
    parity,
    pixels,
    report,
    speed,
)
from seqjax.cells import CELLS
from seqjax.errors import check_positive
from seqjax.runs.study import Unit
from seqjax.types import Array

PARTS = ("iterations", "speed", "copying", "parity", "generation", "pixels")
SCALES = (0.5, 1.0, 1.5, 3.0)
NEWTON = ("rnn", "lstm", "gru", "sru", "para_gru", "para_lstm")
TRAINED = ("rnn", "lstm", "gru")
TIMED = ("lru", "min_gru", "para_gru", "lstm")
COUNTING = ("lstm", "gru", "slstm", "min_gru")
WRITTEN = ("rnn", "lstm", "gru", "lru", "min_gru", "min_lstm", "mamba", "gla", "mlstm", "slstm")
READING = ("lstm", "gru", "min_gru", "min_lstm", "lru", "mamba", "mlstm", "slstm")
COPIED = ("lstm", "gru", "min_gru", "min_lstm", "lru", "mamba", "mlstm")
FLAGS = {  # of each part
    "iterations": ("lengths", "train_steps"),
    "speed": ("lengths", "timed", "batch_size", "hidden_size", "calls"),
    "copying": ("copied", "copy_layers", "copy_length", "copy_symbols", "copy_steps", "copy_batch"),
    "parity": ("counting", "parity_steps"),
    "generation": ("lengths", "written", "batch_size", "hidden_size", "calls"),
    "pixels": ("reading", "image_data", "image_size", "image_steps", "image_batch"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    parts: str = cli.option(",".join(PARTS), f"what to measure, some of {', '.join(PARTS)}")
    lengths: str = cli.option(
        "100,1000,10000", "lengths T of iterations, speed and generation, separated by commas"
    )
    timed: str = cli.option(",".join(TIMED), "cells of speed, separated by commas")
    batch_size: int = cli.option(4, "number of sequences of speed and generation")
    hidden_size: int = cli.option(64, "number of units of speed and generation")
    calls: int = cli.option(5, "number of timed calls of every way, of speed and generation")
    train_steps: int = cli.option(2000, "updates of each network of iterations that is trained")
    copied: str = cli.option(",".join(COPIED), "cells of copying, separated by commas")
    copy_layers: int = cli.option(3, "number of layers of copying")
    copy_length: int = cli.option(64, "number of blanks among which the symbols of copying stand")
    copy_symbols: int = cli.option(8, "number of symbols of a string of copying")
    copy_steps: int = cli.option(1500, "updates of each network of copying")
    copy_batch: int = cli.option(32, "number of strings in a batch of copying")
    counting: str = cli.option(",".join(COUNTING), "cells of parity, separated by commas")
    parity_steps: int = cli.option(1500, "updates of each network of parity")
    written: str = cli.option(",".join(WRITTEN), "cells of generation, separated by commas")
    reading: str = cli.option(",".join(READING), "cells of pixels, separated by commas")
    image_data: str = cli.option(
        "digits", "images of pixels: digits of scikit-learn, or a folder in the format of MNIST"
    )
    image_size: int = cli.option(
        14, "height and width to which images of a folder are made smaller"
    )
    image_steps: int = cli.option(300, "updates of each network of pixels")
    image_batch: int = cli.option(50, "number of images in a batch of pixels")
    seed: int = cli.option(0, "seed of the study")
    workdir: str = cli.workdir_option("parallel_in_time")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("batch_size", "hidden_size", "calls", "train_steps"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        for name in ("copy_length", "copy_symbols", "copy_steps", "copy_batch", "parity_steps"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        for name in ("image_size", "image_steps", "image_batch"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        check_positive("--copy_layers", self.copy_layers, at_most=100)
        cli.check_seed(self.seed)
        parts = cli.chosen("--parts", self.parts, PARTS)
        used = {name for part in parts for name in FLAGS[part]}
        unused = [name for names in FLAGS.values() for name in names if name not in used]
        cli.refuse_unused(self, unused, f"with --parts={self.parts}")
        cli.chosen("--timed", self.timed, tuple(CELLS))
        for name in ("copied", "counting", "written", "reading"):
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
        "pixels": pixels_units,
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


def pixels_units(config: Config, lengths: tuple[int, ...]) -> dict[str, Unit]:
    del lengths
    splits = sequential_images.load(config.image_data, config.image_size, "pixels", config.seed)
    check_positive("--image_batch", config.image_batch, at_most=len(splits.train.labels))
    how = {"num_steps": config.image_steps, "batch": config.image_batch}

    def unit(name: str, key: Array) -> dict[str, Any]:
        return pixels.measured(name, key, splits=splits, **how)

    return {
        f"pixels, {name}": partial(unit, name)
        for name in cli.chosen("--reading", config.reading, tuple(CELLS))
    }


def finish(study: StudyRun, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    parts: dict[str, dict[str, dict[str, Any]]] = {part: {} for part in PARTS}
    for name, row in rows.items():
        part, rest = name.split(", ", 1)
        parts[part][rest] = row
    text_of = {
        "iterations": report.newton_table,
        "speed": report.speed_table,
        "copying": report.copying_table,
        "parity": report.parity_table,
        "generation": report.generation_table,
        "pixels": report.pixels_table,
    }
    shown = [text_of[part](found) for part, found in parts.items() if found]
    if parts["iterations"]:
        report.figure(study, parts["iterations"])
    study.finish(parts, "\n\n".join(shown))
    return parts
