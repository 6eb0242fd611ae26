"""How many devices share a batch, where no flag says.

Two CPU cores that each have a half of the rows beat one program on both, as long as a half is enough for a
product of matrices: measured in docs/speed.md. What is chosen stands in the run's config, so that a run that
goes on, or is made again, has the same.
"""

import dataclasses
from contextlib import suppress
from typing import Any, TypeVar

import jax

from experiments.common import cli
from experiments.common.cells import factory_of
from seqjax.devices import use_cpu_devices
from seqjax.errors import InputError
from seqjax.search.engines.processes import cores

AUTO = 0
ROWS = 8  # the fewest rows of a device
LARGE = 2 << 20  # bytes of a weight; from here on a device needs more rows
ROWS_OF_LARGE = 16
SMALL = 128 << 10  # bytes of the largest weight; below, one device is enough

Config = TypeVar("Config")


def devices_option() -> Any:
    """The field `devices` of a program that trains."""
    return cli.option(
        AUTO,
        "number of local devices (CPU cores, GPUs) that share each batch; auto: as many CPU cores as pay",
        may_differ=True,
        words={"auto": AUTO},
    )


def with_devices(config: Config) -> Config:
    """The config with a number in the place of auto, and JAX with as many CPU devices.

    Call it before anything is computed.

    Args:
      config: has `devices`, `batch_size`, `cell` and `hidden_size`.
    """
    values: Any = config
    if values.devices != AUTO:
        try:
            use_cpu_devices(values.devices)
        except RuntimeError as error:
            raise InputError(
                f"devices={values.devices} must be set before anything is computed, but something was, by"
                " the module of your own cell perhaps: compute nothing while it is imported."
            ) from error
        return config
    sizes = (values.cell, values.hidden_size, values.batch_size)
    own = len(cores())
    with suppress(RuntimeError):  # something was computed before, as in a notebook
        use_cpu_devices(chosen(*sizes, own))
    there = jax.local_device_count() if jax.default_backend() == "cpu" else 1
    return dataclasses.replace(values, devices=chosen(*sizes, min(own, there)))


def chosen(cell: str, hidden_size: int, batch_size: int, cores: int) -> int:
    """The most devices, up to one for each core, that share the batch evenly and have enough rows."""
    if jax.distributed.is_initialized():
        return 1  # the processes may share the cores
    shapes = jax.eval_shape(
        lambda: factory_of(cell)(hidden_size).init(jax.random.key(0), hidden_size)
    )
    largest = max((x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes)), default=0)
    if largest < SMALL:
        return 1
    rows = ROWS_OF_LARGE if largest >= LARGE else ROWS
    counts = range(1, min(cores, batch_size // rows) + 1)
    return max((n for n in counts if batch_size % n == 0), default=1)
