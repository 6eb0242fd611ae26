"""The five studies: the units of each, and the report that sets them beside published values."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from experiments.long_lags import online, report, stream
from experiments.long_lags.methods import INITIALISATIONS, METHODS, TREATMENTS, Method, pascanu
from experiments.long_lags.training import Setting, train
from seqjax import irnn, lstm
from seqjax.runs.study import Unit

CHECK_EVERY = 500  # updates between tests
ADDERS, ADDING_RATES, ADDING_CLIPS = ("IRNN", "LSTM", "tanh"), (0.1, 0.01, 0.001), (1.0, 100.0)


class Plan(NamedTuple):
    """What the flags choose."""

    task: str
    methods: tuple[str, ...]
    lengths: tuple[int, ...]
    updates: int
    seeds: int
    cells: tuple[str, ...] = ADDERS  # of the grid of adding
    rates: tuple[float, ...] = ADDING_RATES
    clips: tuple[float, ...] = ADDING_CLIPS


class Study(NamedTuple):
    units: Callable[[Plan], dict[str, Unit]]
    report: Callable[..., str]  # (workdir, rows) -> the table; draws the figures
    minutes: float  # on one CPU core
    updates: int  # of each unit, unless --updates is given
    seeds: int
    piece: int = CHECK_EVERY  # updates between two looks, of which --updates is a multiple


def setting(plan: Plan, task: str, length: int, **changes: Any) -> Setting:
    """The setting of Pascanu et al.: 50 hidden units, batches of 20, 10,000 test sequences."""
    return Setting(
        task=task,
        length=length,
        hidden=50,
        batch_size=20,
        updates=plan.updates,
        check_every=min(CHECK_EVERY, plan.updates),
        test_sequences=10_000,
        seeds=plan.seeds,
    )._replace(**changes)


def chosen(plan: Plan) -> dict[str, Unit]:
    """The chosen methods on the chosen task at the chosen lengths."""
    return {
        f"{name}, T={length}": partial(train, setting(plan, plan.task, length), METHODS[name])
        for name, length in product(plan.methods, plan.lengths)
    }


def fig_7(plan: Plan) -> dict[str, Unit]:
    """Three treatments of the gradient x three initialisations x lengths on temporal order."""
    return {
        f"{treatment}, {start}, T={length}": partial(
            train, setting(plan, "temporal_order_2_bit", length), pascanu(treatment, start)
        )
        for length, start, treatment in product((50, 100, 150), INITIALISATIONS, TREATMENTS)
    }


def le(plan: Plan) -> dict[str, Unit]:
    """Le's adding problem at T = 150, 100 units, batches of 16: a grid of rates and clips."""
    makers: dict[str, Callable] = {
        "IRNN": lambda hidden, length: irnn(hidden),
        "LSTM": lambda hidden, length: lstm(hidden),
        "tanh": METHODS["orthogonal"].make,
    }
    grid = product(plan.cells, plan.rates, plan.clips)
    chosen = setting(
        plan,
        "adding_le",
        150,
        hidden=100,
        batch_size=16,
        test_sequences=2000,
        threshold=0.02,
        measure="loss",
    )
    return {
        f"{name}, rate={rate:g}, clip={clip:g}": partial(
            train, chosen, Method(makers[name], clip=clip, learning_rate=rate)
        )
        for name, rate, clip in grid
    }


def gers(plan: Plan) -> dict[str, Unit]:
    """Continual embedded Reber with and without a forget gate, with one and with four times the budget."""
    return {
        f"{name}, {updates} updates": partial(stream.train, name, plan.seeds, updates)
        for name, updates in product(stream.PUBLISHED, (plan.updates, 4 * plan.updates))
    }


def hochreiter(plan: Plan) -> dict[str, Unit]:
    """Experiments 4 and 6a; `updates` are sequences here."""
    return {
        f"experiment {name}": partial(online.train, name, plan.seeds, plan.updates)
        for name in online.EXPERIMENTS
    }


STUDIES = {
    "default": Study(chosen, report.lengths, 5, 3000, 3),
    "pascanu": Study(fig_7, report.fig_7, 15, 10_000, 3),
    "adding": Study(le, report.le, 10, 10_000, 1),
    "reber": Study(gers, report.gers, 1, 2000, 5, stream.STAGES),
    "hs97": Study(hochreiter, report.hochreiter, 3, 300_000, 10, online.CHUNK),
}
