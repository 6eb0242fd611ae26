"""How much memory a gradient through a long sequence takes, and what it costs in time.

Claim: with `keep="blocks"` the memory that back-propagation through time needs grows with √T, so that
100,000 steps of an LSTM with 256 units take little more than the sequences themselves (inputs, outputs
and their cotangents, which are counted where they are temporary); and products in bfloat16 change the
gradient by about half a percent.

    python -m experiments.memory

takes about 2 minutes on 2 CPU cores. It compares `jax.lax.scan`, the same with `jax.checkpoint` around
the step, and `seqjax.unroll` with keep="gates" (the default), "products" and "blocks". Bytes are XLA's
own count of temporary memory for one gradient of all parameters; times are medians of a few calls, which
the ways make in turn. The second table has the relative error of gradients against float64.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.common import cli, plots
from experiments.common.cells import cell_option, factory_of
from experiments.common.flag_lists import whole_numbers
from experiments.common.study_run import open_study
from experiments.common.tables import table
from seqjax.cells import CELLS
from seqjax.errors import check_positive
from seqjax.recurrence.unroll import unroll
from seqjax.runs.progress import Progress
from seqjax.types import Cell
from seqjax.wrappers.precision import low_precision_products

# Cells in the table of precision; the others are variants of these.
ONE_OF_EACH_KIND = (
    "rnn",
    "irnn",
    "lstm",
    "lstm_peephole",
    "lstm_fgr",
    "gru",
    "gru_reset_before",
    "mut1",
)
WAYS = ("lax.scan", "lax.scan, checkpoint", "gates", "products", "blocks")


@dataclasses.dataclass(frozen=True)
class Config:
    cell: str = cell_option()
    hidden_size: int = cli.option(256, "number of hidden units, and of inputs")
    batch_size: int = cli.option(1, "number of sequences in a batch")
    steps: str = cli.option("100,1000,10000,100000", "lengths T, separated by commas")
    max_gib: float = cli.option(8.0, "GiB of memory; a way that needs more is not timed")
    repeats: int = cli.option(3, "timed calls of each way")
    workdir: str = cli.workdir_option("memory")

    def __post_init__(self) -> None:
        for name in ("hidden_size", "batch_size", "repeats"):
            check_positive(f"--{name}", getattr(self, name))
        self.lengths()

    def lengths(self) -> tuple[int, ...]:
        """The lengths T."""
        return whole_numbers("--steps", self.steps)


def runner(way: str, cell: Cell) -> Callable[[Any, Any], Any]:
    """The cell over time, `(params, xs) -> ys`, in one of the ways."""
    if way in ("gates", "products", "blocks"):
        return lambda params, xs: unroll(cell, params, xs, keep=way)[1]
    step = jax.checkpoint(cell.step) if "checkpoint" in way else cell.step
    return lambda params, xs: lax.scan(
        partial(step, params), cell.initial_state(xs.shape[1:-1]), xs
    )[1]


def measure(config: Config, num_steps: int) -> dict[str, dict[str, float]]:
    """The bytes of each way at one length, and the seconds of those that are run."""
    cell = factory_of(config.cell)(config.hidden_size)
    params = cell.init(jax.random.key(0), config.hidden_size)
    shape = (num_steps, config.batch_size, config.hidden_size)
    xs = jax.random.normal(jax.random.key(1), shape)
    compiled, rows = {}, {}
    for way in WAYS:
        run = runner(way, cell)
        gradient = jax.jit(jax.grad(lambda p, x, run=run: jnp.mean(run(p, x) ** 2)))
        compiled[way] = gradient.lower(params, xs).compile()
        analysis: Any = compiled[way].memory_analysis()
        rows[way] = {"bytes": analysis.temp_size_in_bytes}
    ready = [way for way in WAYS if rows[way]["bytes"] < config.max_gib * 2**30]
    times: dict[str, list[float]] = {way: [] for way in ready}
    for _ in range(config.repeats + 1):
        for way in ready:
            start = time.perf_counter()
            jax.block_until_ready(compiled[way](params, xs))
            times[way].append(time.perf_counter() - start)
    for way in ready:
        rows[way]["seconds"] = statistics.median(times[way][1:])
    return rows


def precision_errors(hidden_size: int = 128, num_steps: int = 100) -> dict[str, dict[str, float]]:
    """The relative error of the gradient of u against float64, in float32 and with bfloat16 products."""
    errors = {}
    for name in ONE_OF_EACH_KIND:
        factory = CELLS[name]
        cell = factory(hidden_size)
        params = cell.init(jax.random.key(0), hidden_size)
        xs = jax.random.normal(jax.random.key(1), (num_steps, 8, hidden_size))

        def gradient(cell: Cell, params: Any, xs: Any) -> np.ndarray:
            run = jax.grad(lambda p: jnp.mean(unroll(cell, p, xs)[1] ** 2))
            return np.asarray(jax.jit(run)(params)["u"], np.float64)

        with jax.enable_x64(True):
            wide = jax.tree.map(lambda a: np.asarray(a, np.float64), (params, xs))
            exact = gradient(cell, *wide)
        rounded = {
            "float32": gradient(cell, params, xs),
            "bfloat16 products": gradient(low_precision_products(cell), params, xs),
        }
        norm = np.linalg.norm(exact)
        errors[name] = {k: float(np.linalg.norm(v - exact) / norm) for k, v in rounded.items()}
    return errors


def run(config: Config) -> dict[str, Any]:
    """Measures all lengths; writes results.json, table.txt and memory.png."""
    lengths = config.lengths()
    expect = "about 2 minutes on 2 CPU cores with the default flags"
    with open_study("memory", config, expect=expect) as study:
        progress = Progress(len(lengths) + 1, seconds=0)
        by_length = {}
        for i, num_steps in enumerate(lengths):
            by_length[num_steps] = measure(config, num_steps)
            progress.update(i + 1, f"T = {num_steps:,}")
        errors = precision_errors()
        progress.update(len(lengths) + 1, "precision")
        progress.close()
        plots.curve(
            study.workdir / "memory.png",
            {way: (lengths, [by_length[t][way]["bytes"] / 2**20 for t in lengths]) for way in WAYS},
            xlabel="time steps T",
            ylabel="temporary memory, MiB",
            title=f"One gradient of {config.cell}, H = {config.hidden_size}, B = {config.batch_size}",
            log_x=True,
            log_y=True,
        )
        results = {"lengths": by_length, "precision": errors}
        study.finish(results, text_of(by_length, errors))
    return results


def text_of(
    by_length: dict[int, dict[str, dict[str, float]]], errors: dict[str, dict[str, float]]
) -> str:
    """The two tables: memory and time by length, and precision."""
    sizes = [
        [
            f"{num_steps:,}",
            way,
            f"{row['bytes'] / 2**20:.2f}",
            f"{row['seconds']:.3f}" if "seconds" in row else "not run",
        ]
        for num_steps, ways in by_length.items()
        for way, row in ways.items()
    ]
    precision = [
        [name, *(f"{error:.1e}" for error in row.values())] for name, row in errors.items()
    ]
    return (
        table(["T", "way", "MiB", "seconds"], sizes, flush_left=2)
        + "\n\nrelative error of the gradient of u against float64, T = 100, H = 128\n"
        + table(["cell", *next(iter(errors.values()))], precision)
    )


if __name__ == "__main__":
    cli.run(run, Config)
