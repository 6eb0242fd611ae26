"""How much faster many networks train as one population than one after another.

Claim: on two CPU cores a population of small LSTMs is trained several times as fast as by a Python loop
over the plain jitted update, and as by torch's loop.

    python -m experiments.population_speed

takes 17 minutes on 2 CPU cores, with torch if it is installed.
Every way does the same work: an LSTM and a sigmoid layer over 88 notes, 100 steps, one update of descent
with momentum a sequence or batch, each member with its own rate. "population" is `seqjax.search.population`,
its members shared between the cores; "loop" a jitted update of one network over `lax.scan`, called for
every member and every update; "unroll" the same with `seqjax.unroll`, so that what the population adds
to the fast scan can be told; "torch" the same loop over `torch.nn.LSTM`, with as many threads as are
fastest. "products" is a population that computes the matrix products and the loss of these updates and
nothing else, about the bound of every way that makes the same products by XLA. A round of a population
has as many updates as a turn; the epochs of `experiments.lstm_variants` on JSB Chorales have 229. Ways
take turns; a time is the median over turns, a ratio that of medians.
"""

import dataclasses
import importlib.util
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.common import cli
from experiments.common.plots import COLOURS, LINES, label, panels
from experiments.common.tables import table as aligned
from experiments.population_speed.products import products_of
from seqjax import lstm, unroll
from seqjax.devices.mesh import batch_mesh, use_cpu_devices
from seqjax.errors import InputError, check_positive
from seqjax.files.json import write_atomically, write_json
from seqjax.losses import binary_cross_entropy
from seqjax.runs.progress import Progress
from seqjax.runs.results import write_results
from seqjax.runs.workdir import open_workdir
from seqjax.search.population import fill_up, init_population, make_round
from seqjax.types import Array

NOTES = 88
MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class Config:
    """What a person may choose."""

    members: str = cli.option("1,4,16,64", "sizes of the population, with commas")
    hidden: str = cli.option("32,64,128", "hidden units, with commas")
    batches: str = cli.option("1,8", "sequences an update, with commas")
    steps: int = cli.option(100, "T")
    updates: int = cli.option(512, "of all members together in a turn")
    turns: int = cli.option(3, "of every way")
    devices: int = cli.option(2, "CPU cores that share the population")
    group: int = cli.option(0, "members that run as one batch; by size if 0")
    workdir: str = cli.workdir_option("population_speed")

    def __post_init__(self) -> None:
        for name in ("steps", "updates", "turns", "devices"):
            check_positive(f"--{name}", getattr(self, name))
        for name in ("members", "hidden", "batches"):
            self.numbers(name)

    def numbers(self, name: str) -> list[int]:
        """The integers of a flag."""
        text = getattr(self, name)
        words = [word.strip() for word in text.split(",")]
        if not all(word.isdecimal() and len(word) < 7 and int(word) for word in words):
            raise InputError(f"--{name} takes integers of at least 1 with commas, got {text!r}.")
        return [int(word) for word in words]


def group_of(hidden: int, batch: int) -> int:
    """Members that run as one batch: small products alone do not fill a core."""
    return min(8, max(1, 256 // (hidden * batch))) if batch == 1 else 4 if hidden <= 32 else 1


def loss_of(run: Callable, params: Any, xs: Array, ys: Array) -> Array:
    logits = run(params["cell"], xs) @ params["w"] + params["b"]
    return binary_cross_entropy(logits, ys).sum() / xs.shape[1]


def by_seqjax(hidden: int) -> Callable:
    return lambda params, xs: unroll(lstm(hidden), params, xs)[1]


def by_scan(hidden: int) -> Callable:
    """The plain scan over the same cell."""
    cell = lstm(hidden)

    def run(params: Any, xs: Array) -> Array:
        step = partial(cell.step, params)
        return lax.scan(step, cell.initial_state(xs.shape[1:-1]), xs)[1]

    return run


def first_weights(hidden: int, key: Array) -> Any:
    cell_key, head_key = jax.random.split(key)
    return {
        "cell": lstm(hidden).init(cell_key, NOTES),
        "w": 0.1 * jax.random.normal(head_key, (hidden, NOTES)),
        "b": jnp.zeros(NOTES),
    }


def gradients_by(run: Callable) -> Callable:
    return jax.grad(partial(loss_of, run))


def update_of(
    gradients: Callable, params: Any, velocity: Any, rate: Array, xs: Array, ys: Array
) -> Any:
    """One update of one network."""
    grads = gradients(params, xs, ys)
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
    params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
    return params, velocity


def updates_of(config: Config, count: int) -> int:
    """Of each member in a turn."""
    return max(1, config.updates // count)


def data_of(config: Config, count: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Rolls `[updates, T, B, 88]`: of each step, and of the step after."""
    rng = np.random.default_rng(0)
    shape = (updates_of(config, count), config.steps + 1, batch, NOTES)
    rolls = (rng.random(shape) < 0.04).astype(np.float32)
    return rolls[:, :-1], rolls[:, 1:]


def population_way(
    gradients_of: Callable[[int], Callable], config: Config, count: int, hidden: int, batch: int
) -> Callable[[], None]:
    """One turn: so many updates of every member."""
    devices = min(config.devices, count)
    mesh = batch_mesh(devices) if devices > 1 else None
    group = min(config.group or group_of(hidden, batch), max(1, count // devices))
    multiple = group * devices
    params = jax.vmap(partial(first_weights, hidden))(jax.random.split(jax.random.key(0), count))
    members = fill_up((params, jax.tree.map(jnp.zeros_like, params)), multiple)
    rates = fill_up(jnp.linspace(1e-4, 1e-3, count), multiple)
    gradients = gradients_of(hidden)

    def advance(member: Any, rate: Array, data: Any) -> tuple[Any, Array, dict]:
        def update(member: Any, pair: Any) -> tuple[Any, None]:
            params, velocity = member
            xs, ys = pair
            return update_of(gradients, params, velocity, rate, xs, ys), None

        return lax.scan(update, member, data)[0], jnp.zeros(()), {}

    round_ = make_round(
        advance, pick=lambda _: (), patience=10**6, max_rounds=10**6, group=group, mesh=mesh
    )
    state = init_population(members, pick=lambda _: (), count=count)
    same = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    data = jax.device_put(data_of(config, count, batch), same)

    def turn() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(round_(state, rates, data))

    return turn


def loop_way(
    gradients_of: Callable[[int], Callable], config: Config, count: int, hidden: int, batch: int
) -> Callable[[], None]:
    """The same, one member after another, one call an update."""
    update = jax.jit(partial(update_of, gradients_of(hidden)))
    keys = jax.random.split(jax.random.key(0), count)
    first = jax.jit(partial(first_weights, hidden))
    params = [first(key) for key in keys]
    members = [(p, jax.tree.map(jnp.zeros_like, p)) for p in params]
    rates = list(jnp.linspace(1e-4, 1e-3, count))
    pairs = [jax.device_put(pair) for pair in zip(*data_of(config, count, batch), strict=True)]

    def turn() -> None:
        for i, rate in enumerate(rates):
            for pair in pairs:
                members[i] = update(*members[i], rate, *pair)
        jax.block_until_ready(members)

    return turn


def torch_way(config: Config, count: int, hidden: int, batch: int) -> Callable[[], None]:
    """torch's LSTM in its own loop."""
    import torch

    torch.manual_seed(0)
    pairs = [
        (torch.from_numpy(x.copy()), torch.from_numpy(y.copy()))
        for x, y in zip(*data_of(config, count, batch), strict=True)
    ]
    members = []
    for i in range(count):
        layer, head = torch.nn.LSTM(NOTES, hidden), torch.nn.Linear(hidden, NOTES)
        weights = [*layer.parameters(), *head.parameters()]
        rate = 1e-4 + 9e-4 * i / max(1, count - 1)
        members.append((layer, head, torch.optim.SGD(weights, rate, momentum=MOMENTUM)))
    loss_fn = torch.nn.BCEWithLogitsLoss(reduction="sum")

    def all_updates(threads: int) -> float:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        for layer, head, optimizer in members:
            for x, y in pairs:
                optimizer.zero_grad()
                (loss_fn(head(layer(x)[0]), y) / x.shape[1]).backward()
                optimizer.step()
        return time.perf_counter() - begin

    all_updates(1)
    threads = min(range(1, config.devices + 1), key=all_updates)  # one is often the faster

    def turn() -> None:
        all_updates(threads)

    return turn


WAYS: dict[str, Callable[[Config, int, int, int], Callable[[], None]]] = {
    "population": partial(population_way, lambda hidden: gradients_by(by_seqjax(hidden))),
    "loop": partial(loop_way, lambda hidden: gradients_by(by_scan(hidden))),
    "unroll": partial(loop_way, lambda hidden: gradients_by(by_seqjax(hidden))),
    "torch": torch_way,
    "products": partial(population_way, lambda hidden: products_of),
}


def measure(config: Config, count: int, hidden: int, batch: int) -> dict[str, Any]:
    """Trainings a minute by every way, where a training is 1,000 updates, and the ratios."""
    ways = [name for name in WAYS if name != "torch" or importlib.util.find_spec("torch")]
    turns = {name: WAYS[name](config, count, hidden, batch) for name in ways}
    for turn in turns.values():
        turn()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(config.turns):
        for name, turn in turns.items():
            begin = time.perf_counter()
            turn()
            times[name].append(time.perf_counter() - begin)
    jax.clear_caches()
    middle = {name: statistics.median(x) for name, x in times.items()}
    row: dict[str, Any] = {"members": count, "hidden": hidden, "batch": batch}
    row["seconds"] = middle
    row["per_minute"] = {
        name: 60 * count * updates_of(config, count) / 1000 / seconds
        for name, seconds in middle.items()
    }
    row["ratios"] = {name: middle[name] / middle["population"] for name in ways}
    row["loop_at_most"] = middle["loop"] / middle["products"]
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Trainings of 1,000 updates a minute; how many times as fast the population is as the others, and
    at most could be as the loop."""
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


def draw(path: Any, rows: list[dict[str, Any]]) -> None:
    """Times as fast as the loop, and as torch's, against members."""
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
    start = time.monotonic()
    use_cpu_devices(config.devices)
    cases = [
        (count, hidden, batch)
        for hidden in config.numbers("hidden")
        for batch in config.numbers("batches")
        for count in config.numbers("members")
    ]
    with open_workdir(config.workdir, name="population_speed", resume=False) as workdir:
        write_json(workdir / "config.json", dataclasses.asdict(config))
        print(f"17 minutes with the default flags on 2 CPU cores; writing to {workdir}")
        rows, progress = [], Progress(len(cases))
        for i, case in enumerate(cases, 1):
            rows.append(measure(config, *case))
            progress.update(i, "{} members, {} units, batch {}".format(*case))
        progress.close()
        text = table(rows)
        print(text)
        write_atomically(workdir / "table.txt", text + "\n")
        draw(workdir / "population_speed.png", rows)
        results = {"rows": rows}
        elapsed = time.monotonic() - start
        write_results(
            workdir, experiment="population_speed", config=config, results=results, seconds=elapsed
        )
    return results
