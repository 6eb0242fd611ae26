"""Metrics also to Weights & Biases or MLflow, for those who look at their runs there.

metrics.jsonl and TensorBoard's files stay the truth; what is written here is a copy. Both work
without a network: W&B offline, unless WANDB_MODE says otherwise, MLflow in a file below the run's
directory, unless MLFLOW_TRACKING_URI names a server.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from seqjax.errors import InputError, RunError, one_line

NAMES = ("wandb", "mlflow")
PROJECT = "seqjax"


class Sink(Protocol):
    """Where rows of metrics go as well."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """One row; names are "split/name"."""

    def close(self) -> None:
        """Ends the run there."""


def sinks_of(text: str) -> tuple[str, ...]:
    """The names in a flag, separated by commas.

    Raises:
      InputError: if one is unknown, or its package is not installed.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in NAMES:
            raise InputError(f"unknown sink {name!r}; choose from {', '.join(NAMES)}.")
        if importlib.util.find_spec(name) is None:
            raise InputError(f"log_to={name} needs {name}: pip install 'seqjax[{name}]'.")
    return names


def open_sinks(names: Sequence[str], workdir: Path, config: dict[str, Any]) -> list[Sink]:
    """Begins the run in each; one that goes on after a stop is another run of the same group there."""
    opened: list[Sink] = []
    for name in names:
        try:
            opened.append(_Forgiving(name, OPENED[name](workdir, config)))
        except Exception as error:  # whatever the service and its package raise
            for sink in opened:
                sink.close()
            raise RunError(
                f"log_to={name} cannot be begun: {type(error).__name__}: {error}"
            ) from error
    return opened


class _Forgiving:
    """A sink that is left out, with a word, from its first error on: it is only a copy."""

    def __init__(self, name: str, sink: Sink):
        self._name = name
        self._sink: Sink | None = sink

    def write(self, step: int, values: dict[str, float]) -> None:
        self._try(lambda sink: sink.write(step, values))

    def close(self) -> None:
        self._try(lambda sink: sink.close())

    def _try(self, act: Callable[[Sink], None]) -> None:
        if self._sink is None:
            return
        try:
            act(self._sink)
        except Exception as error:
            self._sink = None
            reason = one_line(f"{type(error).__name__}: {error}")
            print(f"warning: {self._name} is left out from here on: {reason}", file=sys.stderr)


class _Wandb:
    def __init__(self, workdir: Path, config: dict[str, Any]):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=workdir.name,
            dir=workdir,
            config=config,
            mode=None if "WANDB_MODE" in os.environ else "offline",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, workdir: Path, config: dict[str, Any]):
        from mlflow.tracking import MlflowClient

        own = f"sqlite:///{(workdir / 'mlflow.db').absolute()}"
        uri = os.environ.get("MLFLOW_TRACKING_URI", own)
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(PROJECT)
        where = found.experiment_id if found else self._client.create_experiment(PROJECT)
        self._run = self._client.create_run(where, run_name=workdir.name).info.run_id
        for name, value in config.items():
            self._client.log_param(self._run, name, value)

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


OPENED: dict[str, Callable[[Path, dict[str, Any]], Sink]] = {"wandb": _Wandb, "mlflow": _Mlflow}
