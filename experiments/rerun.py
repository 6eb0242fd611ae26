"""Runs an experiment again from its results.json, and compares.

    python -m experiments.rerun RUN/results.json

makes the same run, with the same config and seed, in a directory of its own (--workdir), and prints
every number but seconds that differs, the largest difference first. No number differs on the machine that made the
results with the same versions; the exit code is 0 then, and 1 if one does. Differences in versions,
commit and device are printed first.

Only the experiment's name and the fields of its config are read from the file; the run writes only
below --workdir, whatever the config says.
"""

import dataclasses
import importlib
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common import cli
from seqjax.errors import InputError, RunError, check_not_negative
from seqjax.files.json import read_object
from seqjax.runs.results import made_with
from seqjax.runs.workdir import open_workdir

AGAIN = (  # programs whose numbers come again
    "architecture_search",
    "architectures",
    "caption",
    "char_lm",
    "classify",
    "forget_bias",
    "frames",
    "latch",
    "long_lags",
    "lstm_variants",
    "mario",
    "pixels",
    "population_speed",
    "regularisation",
    "scheduled_sampling",
    "tag",
    "translate",
    "trees",
    "vanishing_gradient",
    "vqa",
    "word_lm",
)
# Programs whose numbers are times, which vary:
MEASURE_TIME = ("speed", "memory", "parallel_in_time")
TIMES = re.compile(r"(^|\.)(seconds\w*|minutes)(\.|$)")  # names of results that vary
OURS = ("workdir", "resume")  # fields that do not change the numbers


@dataclasses.dataclass(frozen=True)
class Config:
    workdir: str = cli.workdir_option("rerun")
    tolerance: float = cli.option(0.0, "largest relative difference that is not reported")

    def __post_init__(self) -> None:
        check_not_negative("--tolerance", self.tolerance)


class Difference(NamedTuple):
    name: str
    before: Any
    now: Any
    relative: float  # infinite if not both are numbers


def command(saved: dict[str, Any], where: str, workdir: Path) -> list[str]:
    """The command line of the run in a results file.

    Raises:
      InputError: if the file names no experiment, or its config does not fit it.
    """
    name, config = saved.get("experiment"), saved.get("config")
    known = (*AGAIN, *MEASURE_TIME)
    if name not in known:
        raise InputError(
            f"{where} must name its experiment, one of {', '.join(sorted(known))}, got {name!r:.60}."
        )
    if name in MEASURE_TIME:
        raise InputError(f"{name} measures time, which does not come again: run it as it is.")
    if not isinstance(config, dict):
        raise InputError(f'"config" in {where} must be an object, got {config!r:.60}.')
    config_class = importlib.import_module(f"experiments.{name}").Config
    fields = cli.checked(config_class, config, where)
    config_class(**{k: v for k, v in fields.items() if k not in OURS})  # its own checks
    flags = [f"--{k}={_flag(v)}" for k, v in fields.items() if k not in OURS]
    return [sys.executable, "-m", f"experiments.{name}", *flags, f"--workdir={workdir}"]


def compare(before: Any, now: Any, name: str = "") -> list[Difference]:
    """All leaves in which two JSON values differ; what the first does not name cannot."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(k, v, now.get(k)) for k, v in before.items()]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(before, now, strict=True))]
    else:
        same = before == now and type(before) is type(now)
        return [] if same else [Difference(name, before, now, _relative(before, now))]
    return [d for k, a, b in pairs for d in compare(a, b, f"{name}.{k}" if name else k)]


def run(config: Config, path: str) -> list[Difference]:
    """Makes the run again; returns the differences above the tolerance."""
    saved = read_object(Path(path))
    command(saved, path, Path())  # says what is wrong before a directory is made
    with open_workdir(config.workdir, name="rerun", resume=False) as workdir:
        before = saved.get("made_with")
        for change in compare(before if isinstance(before, dict) else {}, made_with()):
            print(f"not as then: {change.name}: {change.before!r:.60} -> {change.now!r:.60}")
        argv = command(saved, path, workdir / "run")
        print("running", *argv[1:], flush=True)
        start = time.monotonic()
        code = subprocess.run(argv).returncode
        if code:
            raise RunError(f"the run ended with exit code {code}; what it wrote is in {workdir}.")
        again = read_object(workdir / "run" / "results.json")
    differences = compare(saved.get("results"), again["results"])
    differences = [
        d for d in differences if not (d.relative <= config.tolerance or TIMES.search(d.name))
    ]
    for d in sorted(differences, key=lambda d: -d.relative):
        print(f"{d.name}: {d.before!r:.60} then, {d.now!r:.60} now, {d.relative:.2g} of it")
    print(f"{len(differences)} numbers differ; {time.monotonic() - start:.0f} s; see {workdir}")
    return differences


def _relative(a: Any, b: Any) -> float:
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b)):
        return math.inf
    try:
        return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
    except OverflowError:  # an integer beyond a float
        return math.inf


def _flag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(config: Config, paths: list[str]) -> None:
    if len(paths) != 1:
        raise InputError(f"give one results.json, got {len(paths)}: rerun RUN/results.json")
    if differences := run(config, paths[0]):
        raise RunError(f"{len(differences)} numbers differ.")


if __name__ == "__main__":
    cli.run(main, Config, positional=True)
