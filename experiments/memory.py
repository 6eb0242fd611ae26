"""How much memory a gradient through a long sequence takes, and what it costs in time.

Claim: with `keep="blocks"` what is kept for back-propagation through time grows with √T, so that
100,000 steps of an LSTM with 256 units take little more memory than the sequences themselves (inputs,
outputs and their cotangents, which the counted bytes include where they are temporary); and products
in bfloat16 change the gradient by about a percent.

    python -m experiments.memory

takes about 3 minutes on 2 CPU cores. Compared: `jax.lax.scan`; the same with `jax.checkpoint` around
the step; `seqjax.unroll` with keep="gates" (default), "products" and "blocks". Bytes are XLA's own
count of temporary memory for one gradient of all parameters; times are medians of a few calls, the
ways taken in turn. The second table is the relative error of gradients against float64.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.common import cli, plots
from seqjax.cells import CELLS
from seqjax.errors import InputError, check_positive
from seqjax.files.json import write_json
from seqjax.recurrence.unroll import unroll
from seqjax.runs.progress import Progress
from seqjax.runs.results import write_results
from seqjax.runs.workdir import open_workdir
from seqjax.types import Cell
from seqjax.wrappers.precision import low_precision_products

# for the table of precision; variants differ from these in a gate
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
    cell: str = cli.option("lstm", "the recurrent cell", choices=tuple(CELLS))
    hidden_size: int = cli.option(256, "units, and inputs")
    batch_size: int = cli.option(1, "sequences")
    steps: str = cli.option("100,1000,10000,100000", "lengths T, separated by commas")
    max_gib: float = cli.option(8.0, "a way that needs more memory than this is not run")
    repeats: int = cli.option(3, "timed calls of each way")
    workdir: str = cli.workdir_option("memory")

    def __post_init__(self) -> None:
        for name in ("hidden_size", "batch_size", "repeats"):
            check_positive(f"--{name}", getattr(self, name))
        self.lengths()

    def lengths(self) -> list[int]:
        """The lengths T."""
        try:
            return [check_positive("--steps", int(t)) for t in self.steps.split(",")]
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"--steps takes whole numbers separated by commas, got {self.steps!r}."
            ) from error


def runner(way: str, cell: Cell) -> Callable[[Any, Any], Any]:
    """`(params, xs) -> ys` in one of the ways."""
    if way in ("gates", "products", "blocks"):
        return lambda params, xs: unroll(cell, params, xs, keep=way)[1]
    step = jax.checkpoint(cell.step) if "checkpoint" in way else cell.step
    return lambda params, xs: lax.scan(
        partial(step, params), cell.initial_state(xs.shape[1:-1]), xs
    )[1]


def measure(config: Config, num_steps: int) -> dict[str, dict[str, float]]:
    """Bytes and seconds of each way at one length."""
    cell = CELLS[config.cell](config.hidden_size)
    params = cell.init(jax.random.key(0), config.hidden_size)
    shape = (num_steps, config.batch_size, config.hidden_size)
    xs = jax.random.normal(jax.random.key(1), shape)
    compiled, found = {}, {}
    for way in WAYS:
        run = runner(way, cell)
        gradient = jax.jit(jax.grad(lambda p, x, run=run: jnp.mean(run(p, x) ** 2)))
        compiled[way] = gradient.lower(params, xs).compile()
        analysis: Any = compiled[way].memory_analysis()
        found[way] = {"bytes": analysis.temp_size_in_bytes}
    ready = [way for way in WAYS if found[way]["bytes"] < config.max_gib * 2**30]
    times: dict[str, list[float]] = {way: [] for way in ready}
    for _ in range(config.repeats + 1):
        for way in ready:
            start = time.perf_counter()
            jax.block_until_ready(compiled[way](params, xs))
            times[way].append(time.perf_counter() - start)
    for way in ready:
        found[way]["seconds"] = statistics.median(times[way][1:])
    return found


def precision_errors(hidden_size: int = 128, num_steps: int = 100) -> dict[str, dict[str, float]]:
    """Relative error of the gradient of u against float64, in float32 and with bfloat16 products."""
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
        found = {
            "float32": gradient(cell, params, xs),
            "bfloat16 products": gradient(low_precision_products(cell), params, xs),
        }
        norm = np.linalg.norm(exact)
        errors[name] = {k: float(np.linalg.norm(v - exact) / norm) for k, v in found.items()}
    return errors


def run(config: Config) -> dict[str, Any]:
    """Measures all lengths and writes results.json and memory.png."""
    with open_workdir(config.workdir, name="memory", resume=False) as workdir:
        return measure_all(config, workdir)


def measure_all(config: Config, workdir: Path) -> dict[str, Any]:
    start = time.monotonic()
    write_json(workdir / "config.json", dataclasses.asdict(config))
    print(f"about 3 minutes on 2 CPU cores with the default flags; writing to {workdir}")
    lengths = config.lengths()
    progress = Progress(len(lengths) + 1, seconds=0)
    by_length = {}
    for i, num_steps in enumerate(lengths):
        by_length[num_steps] = found = measure(config, num_steps)
        progress.print(f"T = {num_steps:,}")
        for way, row in found.items():
            seconds = f"{row['seconds']:8.3f} s" if "seconds" in row else "  not run"
            progress.print(f"  {way:22s} {row['bytes'] / 2**20:10.2f} MiB {seconds}")
        progress.update(i + 1, f"T = {num_steps:,}")
    errors = precision_errors()
    progress.update(len(lengths) + 1, "precision")
    progress.close()
    print("relative error of the gradient of u against float64, T = 100, H = 128:")
    for name, row in errors.items():
        print(f"  {name:18s}" + "".join(f"  {k} {v:.1e}" for k, v in row.items()))
    results = {"lengths": by_length, "precision": errors}
    elapsed = time.monotonic() - start
    write_results(workdir, experiment="memory", config=config, results=results, seconds=elapsed)
    plots.curve(
        workdir / "memory.png",
        {way: (lengths, [by_length[t][way]["bytes"] / 2**20 for t in lengths]) for way in WAYS},
        xlabel="time steps T",
        ylabel="temporary memory, MiB",
        title=f"One gradient of {config.cell}, H = {config.hidden_size}, B = {config.batch_size}",
        log_x=True,
        log_y=True,
    )
    return results


if __name__ == "__main__":
    cli.run(run, Config)
