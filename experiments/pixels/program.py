r"""An image read pixel by pixel, and a string that must be kept: what each cell remembers.

Claim: read pixel by pixel, an image is a long sequence, on which a plain network does worst and gates,
normalisation and orthogonal matrices help; over a string of blanks, orthogonal and unitary networks keep ten
symbols where an LSTM answers at the level of chance. (Le et al., 2015; Arjovsky et al., 2016; Cooijmans et
al., 2017; Krueger et al., 2017; Helfrich et al., 2018; Lezcano-Casado and Martinez-Rubio, 2019.)

    python -m experiments.pixels

reads scikit-learn's digits of 8 x 8 pixels in 64 steps. `--data=PATH/mnist --size=14` reads MNIST in 196
steps (28: in 784); `--order=permuted`, `rows` or `blocks` change the order; `--task=copy --length=100` copies
strings. Without a flag it took 8.5 minutes of one core. A killed run goes on with
--resume --workdir=RUN, network by network.

Protocol: Adam at --learning_rate, a tenth of it for plain networks and .3 of it for orthogonal ones; gradients
clipped to norm 1; what is tested is the epoch with the lowest loss on a held-out tenth of the training images.
Published, for MNIST pixel by pixel in 784 steps and permuted: IRNN 97.0 and 82.0 (as in Arjovsky et al., 2016),
uRNN of 512 95.1 and 91.4, expRNN of 170 98.0 and 94.9, LSTM 98.9 and 90.2, with batch norm 99.0 and 95.4
(Cooijmans et al., 2017). No number is published for fewer pixels.
"""

import dataclasses
import time
from functools import partial
from typing import Any

import numpy as np

from experiments.common import cli, plots, tables
from experiments.common.intervals import of_finished
from experiments.common.sequential_images import ORDERS
from experiments.common.study_run import StudyRun, open_study
from experiments.pixels.networks import NETWORKS, make_layer
from experiments.pixels.tasks import Task, copy, images
from experiments.pixels.training import Way, trained
from seqjax.devices.mesh import use_cpu_devices
from seqjax.errors import InputError, check_positive, check_rate
from seqjax.runs.study import Unit
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
    task: str = cli.option("images", "what is read", choices=("images", "copy"))
    networks: str = cli.option(
        ",".join(NETWORKS), f"what to compare, some of {', '.join(NETWORKS)}"
    )
    order: str = cli.option("pixels", "in which order an image is read", choices=ORDERS)
    data: str = cli.option("digits", "digits of scikit-learn, or a folder in the format of MNIST")
    size: int = cli.option(14, "height and width to which images of a folder are made smaller")
    length: int = cli.option(100, "number of blanks between the symbols and the answer")
    hidden_size: int = cli.option(64, "number of units; a uRNN has half of them, complex ones")
    batch_size: int = cli.option(50, "number of sequences in a batch")
    epochs: int = cli.option(
        30, "number of passes over the images, or of rounds of --steps updates"
    )
    steps: int = cli.option(200, "updates of a round on strings")
    learning_rate: float = cli.option(0.003, "learning rate of gated networks")
    seeds: int = cli.option(3, "number of networks of each kind")
    devices: int = cli.option(
        1, "number of CPU cores, or other devices, that share the networks", may_differ=True
    )
    seed: int = cli.option(0, "seed of the study")
    workdir: str = cli.workdir_option("pixels")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("size", "length", "hidden_size", "batch_size", "epochs", "steps", "devices"):
            check_positive(f"--{name}", getattr(self, name), at_most=2**16)
        check_positive("--seeds", self.seeds, at_most=1000)
        cli.check_seed(self.seed, self.seeds)
        check_rate("--learning_rate", self.learning_rate)
        cli.chosen("--networks", self.networks, tuple(NETWORKS))
        if self.order == "blocks" and self.data != "digits" and self.size % 2:
            raise InputError(
                f"--order=blocks reads 2 x 2 pixels: --size must be even, got {self.size}."
            )
        if self.task == "copy":
            cli.refuse_unused(self, ("size",), "with --task=copy")
        else:
            cli.refuse_unused(self, ("length", "steps"), "with --task=images")
            if self.data == "digits":
                cli.refuse_unused(self, ("size",), "with --data=digits")
        if self.task == "copy" and (self.order != "pixels" or self.data != "digits"):
            raise InputError("--order and --data are of images: leave them out with --task=copy.")


def run(config: Config) -> dict[str, Any]:
    """Trains what is not trained yet; writes table.txt, results.json and the figure."""
    use_cpu_devices(config.devices)
    names = cli.chosen("--networks", config.networks, tuple(NETWORKS))
    task = (
        copy(config.length)
        if config.task == "copy"
        else images(config.data, config.size, config.order, config.seed)
    )
    if task.splits:
        most = len(task.splits.train.labels)
        check_positive("--batch_size", config.batch_size, at_most=most)
    units: dict[str, Unit] = {name: partial(measured, name, config, task) for name in names}
    expect = f"{task.name}, {task.num_steps} steps; {len(units)} kinds of network, {config.seeds} of each"
    with open_study("pixels", config, expect=expect) as study:
        return finish(study, task, study.rows(units, "networks.jsonl"))


def measured(name: str, config: Config, task: Task, key: Array) -> dict[str, Any]:
    """The row of a network: all its seeds."""
    del key
    start = time.monotonic()
    units = config.hidden_size // 2 if name == "urnn" else config.hidden_size
    layer = make_layer(name, max(units, 1), task.input_size, task.num_steps)
    rate = config.learning_rate * NETWORKS[name].learning_rate
    way = Way(config.epochs, config.steps, config.batch_size, rate)
    row = trained(layer, task, way, config.seed + np.arange(config.seeds), config.devices)
    return {**row, "seconds": time.monotonic() - start}


def finish(study: StudyRun, task: Task, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draws, prints and writes what was found."""
    lines = [
        [
            name,
            f"{row['parameters']:,}",
            of_finished(np.array(row["accuracy"])),
            of_finished(np.array(row["loss"])),
            f"{np.mean(row['epoch']):.0f}",
            f"{row['seconds'] / len(row['seed']):.0f}",
        ]
        for name, row in rows.items()
    ]
    what = "accuracy" if task.splits else "symbols right"
    head = [f"{task.name}", "parameters", what, "nats", "best epoch", "s/network"]
    table = tables.table(head, lines) + f"\nthe best answer without reading: {task.chance:.3f} nats"
    figure(study, task, rows)
    results = {"networks": rows, "chance": task.chance}
    study.finish(results, table)
    return results


def figure(study: StudyRun, task: Task, rows: dict[str, dict[str, Any]]) -> None:
    """Training losses, means over the seeds that have not stopped; the legend in the order of their ends."""
    curves = {name: np.ma.masked_invalid(np.array(r["curve"], float)) for name, r in rows.items()}
    means = {name: curve.mean(axis=1).filled(np.nan) for name, curve in curves.items()}
    with plots.panels(study.workdir / "pixels.png") as (axes,):
        for place, name in enumerate(
            sorted(means, key=lambda name: -np.nan_to_num(means[name][-1], nan=np.inf))
        ):
            axes.plot(
                range(1, len(means[name]) + 1),
                means[name],
                plots.LINES[place // len(plots.COLOURS) % len(plots.LINES)],
                color=plots.COLOURS[place % len(plots.COLOURS)],
                label=name,
            )
        axes.set_yscale("log")
        plots.level(axes, "without reading", task.chance)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        plots.label(
            axes,
            xlabel="epoch" if task.splits else f"rounds of {study.config.steps} updates",
            ylabel="training loss, nats",
            title=f"{task.name}, {task.num_steps} steps",
        )
