"""Where the evaluations of a study run, as its flags say, and how their rows come back."""

import dataclasses
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jax

from experiments.common import cli
from seqjax.errors import InputError, RunError, check_not_negative
from seqjax.runs.progress import Progress
from seqjax.runs.stopping import Stopper
from seqjax.search.engines import Engine, Record, cores, here, local, on_ray, on_slurm

ENGINES = ("auto", "here", "local", "ray", "slurm")


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    """The flags of a study whose evaluations can run elsewhere."""

    engine: str = cli.option(
        "auto",
        "where evaluations run: here, one after the other; local, one process for each core; ray; slurm;"
        " auto: local on CPU cores, unless --devices gives one evaluation several",
        choices=ENGINES,
        may_differ=True,
        from_file=False,  # a file must not say where code is sent
    )
    workers: int = cli.option(
        0,
        "processes of --engine=local, 0: one for each core; jobs at once of slurm, 0: 100",
        may_differ=True,
        from_file=False,  # a file must not say where code is sent
    )
    cluster: str = cli.option(
        "",
        "of --engine=ray: an address, empty for this machine's cores; of slurm: a partition, or local to"
        " try it out on this machine",
        may_differ=True,
        from_file=False,  # a file must not say where code is sent
    )

    def __post_init__(self) -> None:
        check_not_negative("--workers", self.workers)
        if self.cluster and self.engine not in ("ray", "slurm"):
            raise InputError(f"--cluster is for --engine=ray or slurm, got --engine={self.engine}.")
        if self.workers and self.engine not in ("local", "slurm"):
            raise InputError(f"--workers is for --engine=local or slurm, got {self.workers}.")


def where(config: EngineConfig) -> str:
    """The engine that is used: what --engine says, or what pays on this machine.

    Processes of their own pay where cores are many: a network of a study is too small for the threads of
    one. Several processes on one accelerator would each claim its memory.
    """
    if config.engine != "auto":
        return config.engine
    alone = len(cores()) == 1 or getattr(config, "devices", 1) > 1
    return "here" if alone or jax.default_backend() != "cpu" else "local"


def engine_of(config: EngineConfig, workdir: Path) -> Engine:
    """The engine that the flags name; what it must keep meanwhile is below the run's directory."""
    engine = where(config)
    if engine == "local":
        return local(config.workers)
    if engine == "ray":
        return on_ray(config.cluster)
    if engine == "slurm":
        place: dict[str, Any] = {"cluster": "local"} if config.cluster == "local" else {}
        if config.cluster and not place:
            place = {"slurm_partition": config.cluster}
        return on_slurm(
            workdir / "slurm" / secrets.token_hex(8), workers=config.workers or 100, **place
        )
    return here


def drive(
    engine: Engine,
    function: str,
    records: Mapping[str, Record],
    *,
    write: Callable[[str, dict[str, Any]], str],
    advice: str,
    before: int = 0,
    total: int = 0,
) -> None:
    """Has all records evaluated, and each row written as it comes.

    Args:
      engine: where.
      function: "module:name", as of an engine.
      records: by name; what is done already is not among them.
      write: `(name, row) -> what is shown`, onto the disk.
      advice: how to go on, for who stops the run.
      before: how many records are done already.
      total: how many there are in all, if not these.

    Raises:
      Stopped: after a signal.
      RunError: when all others are done, if some records could not be evaluated.
    """
    failed: dict[str, str] = {}
    with (
        Stopper() as stopper,
        closing(Progress(total or before + len(records), before)) as progress,
        closing(engine(function, records)) as results,
    ):
        done = before
        for item in results:
            if item is not None:
                name, result = item
                done += 1
                if result.row is None:
                    failed[name] = result.error
                    progress.print(f"set aside: {name}: {result.error}")
                else:
                    progress.update(done, write(name, result.row))
            stopper.check(advice)
    if failed:
        name, error = next(iter(failed.items()))
        raise RunError(
            f"{len(failed)} of {len(records)} evaluations failed, the others are done; {name}: {error}"
            f" Mend what is wrong, and {advice}."
        )
