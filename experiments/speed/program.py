"""How fast recurrent layers run on the CPU: seqjax, a plain `lax.scan`, and six other libraries.

Claim: `seqjax.unroll` trains LSTMs and GRUs faster than a `lax.scan` over the same cell, and therefore
faster than the recurrent layers of Flax (Linen and NNX), Haiku, Equinox and Keras on JAX, which are such
scans. Its speed against torch's depends on the shape, and is measured here.

    python -m experiments.speed    # prints first how long it will take
    python -m experiments.speed --peers=torch,plain --cells=lstm --shapes=32x128x128x128x1

Protocol: every peer runs in a process of its own. All compile and warm up, then take turns: in every
round each makes a burst of calls. `train` computes the value and all gradients (of parameters and
inputs) of a weighted sum of the outputs, `forward` the outputs alone, `stream` one time step with the
state handed in and out. Arrays are float32, in the layout the library prefers. A ratio is a peer's
median time over seqjax's: above 1, seqjax is faster. Where a library has two forms of the same equations
its faster one is taken (Flax's `OptimizedLSTMCell`, torch's cells for single steps). Equations differ in
details: Haiku's GRU resets before the product, torch has two biases. With `--products` a linear cell
with the same matrix products is a peer too, as a lower bound for everything that makes them by XLA.
The suite `thresholds` sets the constants of the fast scan to other values, a peer each.
Nothing else may run on the machine at that time: a second program slows torch's threads several times
more than JAX's. With `--fresh` each peer is also started anew for every training: the seconds until it has its first
result, imports included, and its peak memory.
"""

import dataclasses
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common import cli
from experiments.speed.peers import PEERS
from experiments.speed.processes import Child, Children
from experiments.speed.report import report, show
from experiments.speed.thresholds import OTHERS as THRESHOLDS
from experiments.speed.training import PARTS, UPDATES
from experiments.speed.work import Case, cores
from seqjax.cells import CELLS
from seqjax.errors import InputError, RunError, check_positive, check_rate, shown
from seqjax.files.json import write_json
from seqjax.runs.workdir import open_workdir


class Suite(NamedTuple):
    peers: tuple[str, ...]
    cells: tuple[str, ...]
    kinds: tuple[str, ...]
    shapes: str  # batch, steps, input size, hidden size, layers


OPTIONAL = {  # peers that are measured only if their flag is set or --peers names them
    "torch_compile": "torch_compile",
    "products": "products",
    "products_2dev": "products",
}
REUSE_MEMORY = ("growth",)  # suites whose times would otherwise grow with the pages to be cleared
OURS, BOTH = ("plain", "seqjax"), ("train", "forward")
SHAPES = "4x100x64x64x1,32x128x128x128x1,16x1000x128x128x1"
GROWTH = [f"4x{t}x64x64x1" for t in (100, 300, 1000, 3000, 10000)]
GROWTH += [f"16x100x{h}x{h}x1" for h in (32, 64, 128, 256, 512, 1024)]
LARGE = "20x35x650x650x2,64x50x512x512x2,64x128x256x256x2,1x1x512x512x1"
SUITES = {
    "peers": Suite(
        tuple(name for name, peer in PEERS.items() if peer.build),
        ("lstm", "gru", "rnn"),
        BOTH,
        f"{SHAPES},{LARGE}",
    ),
    "cells": Suite(OURS, tuple(CELLS), BOTH, f"{SHAPES},64x128x256x256x1"),
    # The shapes of one batch size vary in T or in H, and make one line of the figure.
    "growth": Suite(OURS, ("lstm",), ("train",), ",".join(GROWTH)),
    # Shapes are streams, tokens, vocabulary, units, layers.
    "generation": Suite(
        ("torch", "torch_layer", "seqjax", "seqjax_2dev"),
        ("lstm",),
        ("greedy", "sample"),
        "1x200x100x256x1,64x200x100x256x1",
    ),
    # Shapes are rows, characters, vocabulary, units, layers; a call makes ten updates.
    "training": Suite(
        ("torch", "seqjax", "seqjax_2dev"),
        ("lstm",),
        PARTS,
        "32x100x100x256x1,32x100x100x512x1,50x50x66x128x2,20x35x10000x200x2",
    ),
    "thresholds": Suite(
        ("seqjax", *THRESHOLDS),
        ("lstm", "gru"),
        BOTH,
        "32x100x256x256x1,16x50x512x512x1,16x40x1024x1024x1,16x1000x128x128x1,64x128x256x256x2,"
        "16x16x512x512x1,16x8x1024x1024x1,1x200x128x128x1,1x200x256x256x1",
    ),
    # Shapes are sources, tokens, vocabulary, units, layers.
    "beam": Suite(("torch", "seqjax"), ("lstm",), ("beam",), "64x40x100x256x1,64x40x6000x256x1"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    suite: str = cli.option("peers", "what to compare", choices=(*SUITES, "all"))
    peers: str = cli.option(
        "", "names of peers, separated by commas; seqjax is always added; empty for all"
    )
    cells: str = cli.option("", "names of cells, separated by commas; empty for the suite's own")
    shapes: str = cli.option(
        "", "shapes BxTxDxHxLAYERS, separated by commas; empty for the suite's own"
    )
    rounds: int = cli.option(5, "turns of every peer in a case")
    burst_seconds: float = cli.option(0.4, "seconds of a turn, which has at least two calls")
    torch_compile: bool = cli.option(False, "also measure torch.compile")
    products: bool = cli.option(False, "also measure the matrix products alone")
    reuse_memory: bool = cli.option(
        False, "let every peer reuse the memory it frees, as the suite growth always does"
    )
    fresh: bool = cli.option(
        False,
        "also start every peer anew for its trainings: seconds to a first result, peak memory",
    )
    workdir: str = cli.workdir_option("speed")

    def __post_init__(self) -> None:
        check_positive("--rounds", self.rounds)
        check_rate("--burst_seconds", self.burst_seconds)
        parse_shapes(self.shapes)
        for flag, known in (("peers", PEERS), ("cells", CELLS)):
            for name in names(getattr(self, flag)):
                if name not in known:
                    raise InputError(f"--{flag} takes some of {', '.join(known)}, got {name!r}.")


def names(text: str) -> list[str]:
    """The names in a flag; none if it is empty."""
    return text.split(",") if text else []


def parse_shapes(text: str) -> list[tuple[int, ...]]:
    """`"4x100x64x64x1,..."` as tuples of five."""
    for shape in names(text):
        if not re.fullmatch(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8}){4}", shape):
            raise InputError(
                "--shapes takes five integers of at least 1 and at most 9 digits for every shape,"
                f" BxTxDxHxLAYERS, as 4x100x64x64x1, got {shown(shape)}."
            )
    return [tuple(map(int, shape.split("x"))) for shape in names(text)]


def plan(config: Config) -> list[tuple[Case, list[str]]]:
    """All cases in order, each with the names of its peers, installed or not."""
    wanted = set(names(config.peers) or set(PEERS) - {*OPTIONAL}) | {"seqjax"}
    wanted |= {peer for peer, flag in OPTIONAL.items() if getattr(config, flag)}
    cases = []
    for suite in SUITES if config.suite == "all" else [config.suite]:
        all_peers, cells, kinds, shapes = SUITES[suite]
        peers = [peer for peer in all_peers if peer in wanted]
        for cell in names(config.cells) or cells:
            for shape in parse_shapes(config.shapes or shapes):
                stream = kinds == BOTH and shape[1] == 1
                for kind in ("stream",) if stream else kinds:
                    cases.append((Case(suite, cell, kind, *shape), peers))
    return cases


def run(config: Config) -> dict[str, Any]:
    """Measures; writes results.json, table.md and figures; returns what results.json holds."""
    cases = plan(config)  # wrong flags are refused before the directory is made
    with open_workdir(config.workdir, name="speed", resume=False) as workdir:
        results = measure_all(config, cases, workdir)
    if not any("seqjax" in row["peers"] for row in results["cases"]):
        raise RunError(f"seqjax ran in no case; {workdir / 'results.json'} says why.")
    return results


def measure_all(
    config: Config, cases: list[tuple[Case, list[str]]], workdir: Path
) -> dict[str, Any]:
    """Measures the cases one by one and writes each down; the report is written in any case."""
    wanted = [peer for peer in PEERS if any(peer in peers for _, peers in cases)]
    missing = [p for p in wanted if importlib.util.find_spec(PEERS[p].package) is None]
    settings = dataclasses.asdict(config)
    write_json(workdir / "config.json", settings)
    results: dict[str, Any] = {"experiment": "speed", "config": settings, "machine": machine()}
    results |= {"not_installed": missing, "cases": []}
    guesses = [guess_seconds(case, len(set(p) - set(missing)), config) for case, p in cases]
    announce(results, (sum(guesses) + 2 * len(wanted)) / 60, len(cases), workdir)
    start = time.monotonic()
    children = Children([peer for peer in wanted if peer not in missing], workdir)
    try:
        for i, (case, peers) in enumerate(cases, 1):
            reuse = config.reuse_memory or case.suite in REUSE_MEMORY
            row = measure(case, children.of(peers, reuse), config)
            if config.fresh and (case.suite, case.kind) == ("peers", "train"):
                for peer, figure in row["peers"].items():
                    figure.update(started_anew(peer, case, workdir, reuse))
            results["cases"].append(row)
            write_json(workdir / "results.json", results)
            left = (time.monotonic() - start) / sum(guesses[:i]) * sum(guesses[i:]) / 60
            print(f"{i}/{len(cases)} {show(row)}  {left:.1f} minutes left", flush=True)
    finally:
        children.close()
        report(workdir, results)
    return results


def announce(results: dict[str, Any], minutes: float, cases: int, workdir: Path) -> None:
    """Says what is not measured, what disturbs, and how long it takes."""
    for peer in results["not_installed"]:
        print(f"{peer} is skipped: {PEERS[peer].package} is not installed")
    if results["machine"]["load_average"] > 0.5:
        print("this machine is busy with something else: times will be wrong, torch's most of all")
    print(f"{cases} cases, about {minutes:.1f} minutes; writing to {workdir}", flush=True)


def guess_seconds(case: Case, num_peers: int, config: Config) -> float:
    """A guess of the seconds that a case takes, at 60 GFLOP/s and 20 µs a step."""
    flops = 8 * case.batch * case.hidden_size * (case.input_size + case.hidden_size)
    times = {"train": 3} | dict.fromkeys(PARTS, 3 * UPDATES)
    call = times.get(case.kind, 1) * case.steps * case.layers * (flops / 6e10 + 2e-5)
    anew = 8 if config.fresh and (case.suite, case.kind) == ("peers", "train") else 0
    return num_peers * (
        anew + 1 + 3 * call + config.rounds * (call + max(2 * call, config.burst_seconds))
    )


def measure(case: Case, children: dict[str, Child], config: Config) -> dict[str, Any]:
    """Runs a case in all processes by turns; returns its row of results.json."""
    replies = {peer: child.ask("prepare", case) for peer, child in children.items()}
    times: dict[str, list[float]] = {peer: [] for peer in children}
    for turn in range(config.rounds):
        for peer in list(children)[:: -1 if turn % 2 else 1]:
            if "skipped" not in replies[peer]:
                burst = children[peer].ask("burst", config.burst_seconds)
                times[peer] += burst.pop("times", [])
                replies[peer] |= burst
    done = {p: figures(times[p], case) | r for p, r in replies.items() if "skipped" not in r}
    skipped = {p: r["skipped"] for p, r in replies.items() if "skipped" in r}
    ours = done.get("seqjax", {}).get("median_ms")
    ratios = {p: r["median_ms"] / ours for p, r in done.items() if ours and p != "seqjax"}
    return {**case._asdict(), "peers": done, "skipped": skipped, "ratios": ratios}


def started_anew(peer: str, case: Case, workdir: Path, reuse: bool) -> dict[str, Any]:
    """What a process that was just started needs: seconds until it has a first result, and its memory after three."""
    start = time.monotonic()
    child = Child(peer, workdir / f"{peer}_anew.log", reuse)
    try:
        child.ask("start", case)
        seconds = time.monotonic() - start
        child.ask("burst", 0.0)
        return {"first_seconds": seconds, **child.ask("peak", None)}
    finally:
        child.close()


def figures(times: list[float], case: Case) -> dict[str, Any]:
    """The numbers of results.json that summarise the times of one peer, in seconds, on one case."""
    low, median, high = (1000 * float(q) for q in np.percentile(times, (25, 50, 75)))
    row = {"median_ms": median, "min_ms": 1000 * min(times), "interval": [low, high]}
    if case.suite == "training":
        row["updates_per_second"] = 1000 * UPDATES / median
    if case.suite in ("generation", "beam"):
        row["tokens_per_second"] = 1000 * case.batch * case.steps / median
    return row | {"calls": len(times)}


def machine() -> dict[str, Any]:
    """The machine and the versions with which the times were measured."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text() if info.exists() else "")
    packages = "jax jaxlib torch flax dm-haiku equinox keras numpy".split()
    installed = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in packages if name in installed},
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
    }


def main(config: Config) -> None:
    run(config)
