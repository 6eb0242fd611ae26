"""How much faster many networks train as one population than one after another.

Claim: on two CPU cores a population of small LSTMs trains several times as fast as in a Python loop over
the plain jitted update, and as in a loop over torch's LSTM.

    python -m experiments.population_speed

takes 17 minutes on 2 CPU cores, with torch if it is installed.

Every way does the same work: an LSTM and a sigmoid layer over 88 notes, 100 steps, gradient descent with
momentum, one update for each sequence or batch, and a learning rate of its own for each member.
"population" is `seqjax.search.population`, its members shared between the cores; "loop" is a jitted
update of one network over `lax.scan`, called for every member and every update; "unroll" is the same
with `seqjax.unroll`, which shows what the population adds to the fast scan; "torch" is the same loop over
`torch.nn.LSTM`, with the fastest number of threads. "products" is a population that computes only the
matrix products and the loss of these updates, about a bound for every way that makes the same products
by XLA. A round of a population has as many updates as a turn; the epochs of
`experiments.lstm_variants` on JSB Chorales have 229. The ways take turns; times are medians over turns,
and ratios are ratios of medians.
"""

import dataclasses
import importlib.util
import math
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import jax

from experiments.common import cli
from experiments.common.flag_lists import whole_numbers
from experiments.common.plots import COLOURS, LINES, label, panels
from experiments.common.study_run import open_study
from experiments.common.tables import table as aligned
from experiments.population_speed.ways import WAYS, Case, Turn
from seqjax.devices.mesh import use_cpu_devices
from seqjax.errors import check_positive
from seqjax.runs.progress import Progress


@dataclasses.dataclass(frozen=True)
class Config:
    members: str = cli.option("1,4,16,64", "numbers of members, separated by commas")
    hidden: str = cli.option("32,64,128", "numbers of hidden units, separated by commas")
    batches: str = cli.option("1,8", "numbers of sequences in an update, separated by commas")
    steps: int = cli.option(100, "steps T of a sequence")
    updates: int = cli.option(512, "updates of all members together in a turn")
    turns: int = cli.option(3, "timed turns of every way")
    devices: int = cli.option(2, "number of CPU cores that share the population")
    group: int = cli.option(0, "members that run as one batch; 0 to choose by their size")
    workdir: str = cli.workdir_option("population_speed")

    def __post_init__(self) -> None:
        for name in ("steps", "updates", "turns", "devices"):
            check_positive(f"--{name}", getattr(self, name))
        for name in ("members", "hidden", "batches"):
            self.numbers(name)

    def numbers(self, name: str) -> tuple[int, ...]:
        """The integers of the flag `name`."""
        return whole_numbers(f"--{name}", getattr(self, name))

    def cases(self) -> list[Case]:
        """All combinations of the sizes; a turn has as many updates in all of them."""
        sizes = product(*(self.numbers(name) for name in ("hidden", "batches", "members")))
        return [
            Case(
                members=members,
                hidden=hidden,
                batch=batch,
                steps=self.steps,
                updates=max(1, self.updates // members),
                devices=self.devices,
                group=self.group,
            )
            for hidden, batch, members in sizes
        ]


def measure(case: Case, turns: int) -> dict[str, Any]:
    """Trainings per minute by every way, where a training is 1,000 updates, and the ratios."""
    ways = [name for name in WAYS if name != "torch" or importlib.util.find_spec("torch")]
    seconds = medians({name: WAYS[name](case) for name in ways}, turns)
    jax.clear_caches()
    trainings = case.members * case.updates / 1000
    return {
        "members": case.members,
        "hidden": case.hidden,
        "batch": case.batch,
        "seconds": seconds,
        "per_minute": {name: 60 * trainings / seconds[name] for name in ways},
        "ratios": {name: seconds[name] / seconds["population"] for name in ways},
        "loop_at_most": seconds["loop"] / seconds["products"],
    }


def medians(ways: dict[str, Turn], turns: int) -> dict[str, float]:
    """The median seconds of a turn of each way; the ways take turns, after one that is not timed."""
    for turn in ways.values():
        turn()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, turn in ways.items():
            begin = time.perf_counter()
            turn()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(of_way) for name, of_way in times.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each case: trainings per minute by every way, then how many times as fast the
    population is as each rival, and how many times as fast as the loop it could be at most."""
    rivals = [name for name in WAYS if name not in ("population", "products")]
    head = ["units", "batch", "members", *WAYS, *(f"x {name}" for name in rivals), "at most"]
    body = [
        [
            *(str(row[name]) for name in ("hidden", "batch", "members")),
            *(f"{row['per_minute'].get(name, math.nan):.1f}" for name in WAYS),
            *(f"{row['ratios'].get(name, math.nan):.2f}" for name in rivals),
            f"{row['loop_at_most']:.2f}",
        ]
        for row in rows
    ]
    return aligned(head, body)


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """How many times as fast as the loop and as torch the population is, against its members."""
    rivals = ["loop", "torch"] if "torch" in rows[0]["ratios"] else ["loop"]
    with panels(path, len(rivals)) as both:
        for axes, rival in zip(both, rivals, strict=True):
            cases = sorted({(row["hidden"], row["batch"]) for row in rows})
            for i, (hidden, batch) in enumerate(cases):
                mine = [r for r in rows if (r["hidden"], r["batch"]) == (hidden, batch)]
                axes.plot(
                    [r["members"] for r in mine],
                    [r["ratios"].get(rival, math.nan) for r in mine],
                    LINES[i % len(LINES)],
                    color=COLOURS[i % len(COLOURS)],
                    marker="os^Dv<"[i % 6],
                    ms=4,
                    label=f"{hidden} units, batch {batch}",
                )
            axes.axhline(1, color="0.35", linewidth=1)
            axes.set_xscale("log", base=2)
            axes.set_ylim(bottom=0)
            label(
                axes,
                xlabel="members",
                ylabel="times as fast",
                title=f"A population against {'the jitted loop' if rival == 'loop' else 'torch'}",
            )
        both[0].legend(frameon=False, fontsize=8)


def run(config: Config) -> dict[str, Any]:
    """Measures every case; writes results.json, table.txt and population_speed.png."""
    use_cpu_devices(config.devices)
    cases = config.cases()
    expect = "17 minutes with the default flags on 2 CPU cores"
    with open_study("population_speed", config, expect=expect) as study:
        rows, progress = [], Progress(len(cases))
        for i, case in enumerate(cases, 1):
            rows.append(measure(case, config.turns))
            progress.update(i, f"{case.members} members, {case.hidden} units, batch {case.batch}")
        progress.close()
        draw(study.workdir / "population_speed.png", rows)
        results = {"rows": rows}
        study.finish(results, table(rows))
    return results
