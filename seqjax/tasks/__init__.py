"""Synthetic tasks with long lags: pure functions `(key, batch_size, length) -> Episode`.

They run on the device, under `jit` (sizes static) and `vmap` over keys; the same key gives the
same episode.
"""

from collections.abc import Callable

from seqjax.tasks.adding import (
    ADDING,
    adding_hs97,
    adding_le,
    adding_pascanu,
    adding_tcn,
    adding_urnn,
    multiplication_hs97,
    multiplication_pascanu,
)
from seqjax.tasks.episode import Episode
from seqjax.tasks.order import (
    temporal_order_2_bit,
    temporal_order_3_bit,
    temporal_order_6a,
    temporal_order_6b,
)
from seqjax.tasks.parity import running_parity
from seqjax.tasks.reber import continual_reber, embedded_reber
from seqjax.tasks.recall import (
    copying,
    memorisation,
    memorisation_5_bit,
    memorisation_20_bit,
    memorisation_filter,
    selective_copying,
)
from seqjax.tasks.sums import arithmetic
from seqjax.tasks.tags import xml

TASKS: dict[str, Callable[..., Episode]] = {
    **{f"adding_{name}": task for name, task in ADDING.items()},
    "multiplication_hs97": multiplication_hs97,
    "multiplication_pascanu": multiplication_pascanu,
    "copying": copying,
    "memorisation_5_bit": memorisation_5_bit,
    "memorisation_20_bit": memorisation_20_bit,
    "memorisation_filter": memorisation_filter,
    "selective_copying": selective_copying,
    "temporal_order_2_bit": temporal_order_2_bit,
    "temporal_order_3_bit": temporal_order_3_bit,
    "temporal_order_6a": temporal_order_6a,
    "temporal_order_6b": temporal_order_6b,
    "running_parity": running_parity,
    "embedded_reber": embedded_reber,
    "continual_reber": continual_reber,
    "arithmetic": arithmetic,
    "xml": xml,
}

__all__ = [
    "ADDING",
    "TASKS",
    "Episode",
    "adding_hs97",
    "adding_le",
    "adding_pascanu",
    "adding_tcn",
    "adding_urnn",
    "arithmetic",
    "continual_reber",
    "copying",
    "embedded_reber",
    "memorisation",
    "memorisation_5_bit",
    "memorisation_20_bit",
    "memorisation_filter",
    "multiplication_hs97",
    "multiplication_pascanu",
    "running_parity",
    "selective_copying",
    "temporal_order_2_bit",
    "temporal_order_3_bit",
    "temporal_order_6a",
    "temporal_order_6b",
    "xml",
]
