"""Padding and speed of the orders in which pairs are read (Morishita et al., 2017).

    python -m experiments.translate.padding --data=PATH/multi30k

prints, for each order, the share of padding at --batch_size pairs, and the time of --updates of training. A
program of fixed shapes is compiled for three lengths, of which a batch takes the shortest that holds it: so what
an order saves is less than its padding says.
"""

import dataclasses
import statistics
import time

import jax
import numpy as np

from experiments.common import cli, tables
from experiments.translate.config import Config as Translation
from experiments.translate.network import Kind, make_trainee
from experiments.translate.text import load_texts
from seqjax.data.orders import PAIR_ORDERS, order_of_pairs, padding_share
from seqjax.data.tokens import PAD
from seqjax.errors import InputError, check_positive

TURNS = 3


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = cli.option("", "a folder of parallel text, as for experiments.translate")
    source: str = cli.option("de", "what the names of source files end in")
    target: str = cli.option("en", "what the names of target files end in")
    vocab_size: int = cli.option(5000, "most tokens of each language")
    hidden_size: int = cli.option(256, "number of units")
    batch_size: int = cli.option(64, "number of pairs in a batch")
    updates: int = cli.option(40, "updates in each of three turns")

    def __post_init__(self) -> None:
        check_positive("--updates", self.updates)
        if not self.data:
            raise InputError("give --data=PATH, a folder of parallel text.")


def run(config: Config) -> str:
    """Measures, and prints the table."""
    how = dataclasses.asdict(config)
    del how["updates"]
    settings = Translation(embedding_size=config.hidden_size, attention="additive", **how)
    (text,) = load_texts(settings)
    train = text.sets.train
    sides = [(np.asarray(train.inputs[s]) != PAD).sum(1) for s in ("source", "target")]
    trainee = make_trainee(settings, Kind("additive"), text, 0)
    steps, data = trainee.lesson.steps, trainee.lesson.data_of(0)[0]

    def ordered(order: str) -> np.ndarray:
        size = config.batch_size
        return order_of_pairs(sides[0], sides[1], size, order=order, seed=0, epoch=0)

    state = trainee.lesson.state
    seconds: dict[str, list[float]] = {order: [] for order in PAIR_ORDERS}
    for turn in range(TURNS + 1):  # the first compiles
        for order in PAIR_ORDERS:
            start = time.perf_counter()
            jax.block_until_ready(steps(state, (data, ordered(order)), config.updates))
            if turn:
                seconds[order].append(time.perf_counter() - start)
    rows = [
        [
            order,
            f"{100 * padding_share(ordered(order), *sides):.1f} %",
            f"{1000 * statistics.median(turns) / config.updates:.0f}",
            f"{1000 * min(turns) / config.updates:.0f}",
        ]
        for order, turns in seconds.items()
    ]
    table = tables.table(["order", "padding", "ms an update, median", "least"], rows)
    print(table)
    return table


if __name__ == "__main__":
    cli.run(run, Config)
