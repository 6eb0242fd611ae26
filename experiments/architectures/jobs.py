"""An evaluation of a cell as a value and as JSON: all that it depends on."""

from typing import Any, NamedTuple

import numpy as np

from experiments.architectures.networks import NETWORKS
from experiments.architectures.tasks import TASKS, Sizes
from seqjax.cells.graph import Graph, graph_from_json, graph_to_json
from seqjax.errors import LARGEST_INT, InputError, check_positive, check_rate, shown
from seqjax.tasks.sums import MOST_DIGITS

# Jozefowicz, Zaremba and Sutskever (2015), section 3.
GRID = {
    "scale": (0.3, 0.7, 1.0, 1.4, 2.0, 2.8),
    "rate": (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
    "max_norm": (1.0, 2.5, 5.0, 10.0, 20.0),
}
COUNTS = ("parameters", "layers", "max_epochs")


class Setting(NamedTuple):
    """A point of the paper's grid."""

    scale: float  # weights start as U(-x, x), x = scale / √H
    rate: float
    max_norm: float


class Job(NamedTuple):
    """An evaluation of one cell on one task at some settings."""

    network: str | Graph  # a name in NETWORKS, or a cell as a graph
    task: str
    settings: tuple[Setting, ...]
    parameters: int  # the size of the network: as many units as fit
    layers: int
    sizes: Sizes
    max_epochs: int
    max_digits: int
    data: str
    seed: int


def draw_setting(rng: np.random.Generator) -> Setting:
    """A random setting of the published grid, all equally likely."""
    return Setting(*(float(rng.choice(values)) for values in GRID.values()))


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as the JSON values that `job_from_json` reads."""
    network = job.network
    cell = network if isinstance(network, str) else graph_to_json(network)
    sizes, settings = job.sizes._asdict(), [setting._asdict() for setting in job.settings]
    return {**job._asdict(), "network": cell, "sizes": sizes, "settings": settings}


def job_from_json(value: Any) -> Job:
    """Reads a job from a JSON record, which may come from another machine.

    Raises:
      InputError: if the record is no job; the message names the field.
    """
    record = _fields(Job, value, "a job")
    network = record["network"]
    if isinstance(network, str) and network not in NETWORKS:
        raise InputError(f"network is a graph or {', '.join(NETWORKS)}, got {shown(network)}.")
    if record["task"] not in TASKS:
        raise InputError(f"task is {', '.join(TASKS)}, got {shown(record['task'])}.")
    if not isinstance(record["settings"], list) or not record["settings"]:
        raise InputError(f"settings is a list of at least one, got {shown(record['settings'])}.")
    sizes = _fields(Sizes, record["sizes"], "sizes")
    for name, number in (*sizes.items(), *((n, record[n]) for n in COUNTS)):
        check_positive(name, number)
    check_positive("max_digits", record["max_digits"], MOST_DIGITS)
    if type(record["seed"]) is not int or not 0 <= record["seed"] <= LARGEST_INT:
        raise InputError(f"seed is an integer of at least 0, got {shown(record['seed'])}.")
    if not isinstance(record["data"], str):
        raise InputError(f"data is a text, got {shown(record['data'])}.")
    settings = []
    for entry in record["settings"]:
        setting = _fields(Setting, entry, "a setting")
        settings.append(Setting(**{k: float(check_rate(k, v)) for k, v in setting.items()}))
    return Job(
        **record
        | {
            "network": network if isinstance(network, str) else graph_from_json(network),
            "sizes": Sizes(**sizes),
            "settings": tuple(settings),
        }
    )


def _fields(kind: Any, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(kind._fields):
        raise InputError(f"{name} has the fields {', '.join(kind._fields)}, got {shown(value)}.")
    return value
