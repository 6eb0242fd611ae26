"""The trials of every variant, drawn from the ranges of the flags, and the chunks that train side by side."""

import zlib
from typing import Any

import jax
import numpy as np

from experiments.lstm_variants.config import Config
from experiments.lstm_variants.training import Chunk, Trial
from seqjax.errors import InputError, shown
from seqjax.runs.ledger import Ledger
from seqjax.types import Array

BLOCK = 32  # trials of each variant that are trained before the next of any


def draw_trial(config: Config, key: Array) -> Trial:
    """The hyperparameters of a trial, a pure function of its key."""
    seed = int(jax.random.bits(key))
    size, rate, momentum, noise = np.random.default_rng(seed).random(4)

    def log(u: float, low: float, high: float) -> float:
        return float(low * (high / low) ** u)

    return Trial(
        hidden_size=round(log(size, config.hidden_min, config.hidden_max)),
        learning_rate=log(rate, config.rate_min, config.rate_max),
        momentum=1 - log(momentum, config.momentum_min, 1.0),
        noise=float(noise * config.noise_max),
    )


def chunks_of(config: Config, variant: str) -> dict[tuple[int, ...], Chunk]:
    """The chunks of a variant by the numbers of their trials, block after block.

    A chunk has trials of similar size, all of one block.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(variant.encode()))
    keys = jax.random.split(key, config.trials)
    trials = [draw_trial(config, jax.random.fold_in(k, 1)) for k in keys]
    cuts = []
    for first in range(0, config.trials, BLOCK):
        block = range(first, min(first + BLOCK, config.trials))
        order = sorted(block, key=lambda i: trials[i].hidden_size)
        cuts += [tuple(order[i : i + config.chunk]) for i in range(0, len(order), config.chunk)]
    return {
        numbers: Chunk(variant, [trials[i] for i in numbers], keys[np.array(numbers)])
        for numbers in cuts
    }


def in_order(config: Config) -> list[tuple[tuple[int, ...], Chunk]]:
    """All chunks with the numbers of their trials: a block of every variant before the next block."""
    work = [item for name in config.names() for item in chunks_of(config, name).items()]
    return sorted(work, key=lambda item: min(item[0]) // BLOCK)


def check_drawn_here(
    config: Config, work: list[tuple[tuple[int, ...], Chunk]], ledger: Ledger
) -> None:
    """Raises InputError if the ledger is of a search of another task, or that drew other trials."""
    wanted: dict[str, dict[str, Any]] = {"task": {"task": config.task}} | {
        f"{chunk.variant}/{number}": trial._asdict()
        for numbers, chunk in work
        for number, trial in zip(numbers, chunk.trials, strict=True)
    }
    for key in (key for key in wanted if key in ledger.rows):
        row = ledger.rows[key]
        for name, value in wanted[key].items():
            if not agrees(row.get(name), value):
                raise InputError(
                    f"{ledger.path} is of another search: {name} of {key} is {shown(row.get(name))}"
                    f" there and {value} here. Bring back this search's own file, or start another"
                    " in another directory."
                )


def agrees(there: Any, here: str | float) -> bool:
    """Whether a value of a file is the one drawn here; another processor rounds its last digit."""
    if isinstance(here, str) or not isinstance(there, int | float):
        return there == here
    return here - 1e-9 <= there <= here + 1e-9
