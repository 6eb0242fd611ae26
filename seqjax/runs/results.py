"""results.json: what a run found, and all that is needed to run it again."""

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from seqjax.files.json import write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "datasets")


def write_results(
    workdir: Path, *, experiment: str, config: Any, results: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Writes results.json, and returns what it holds.

    Args:
      workdir: of the run.
      experiment: the module's name, as in `python -m experiments.NAME`.
      config: the run's dataclass; its seed is in it.
      results: the numbers. Those that depend on the clock belong into `seconds` alone, so that
        `experiments.rerun` can compare all the others.
      seconds: wall time.
    """
    whole = {
        "experiment": experiment,
        "config": dataclasses.asdict(config),
        "results": results,
        "seconds": seconds,
        "made_with": made_with(),
    }
    write_json(workdir / "results.json", whole)
    return whole


def made_with() -> dict[str, Any]:
    """Versions, commit and machine: what numbers may depend on beside config and seed."""
    device = jax.devices()[0]
    return {
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "git_commit": _commit(),
        "device": f"{jax.device_count()} x {device.platform}: {device.device_kind}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Of the sources that run, with "+" if files differ from it; None outside a repository."""

    def git(*command: str) -> subprocess.CompletedProcess:
        where = ["git", "-C", str(Path(__file__).parent)]
        return subprocess.run([*where, *command], capture_output=True, text=True, timeout=5)

    try:
        if git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
            return None  # installed, in a directory that may lie in another repository
        head, changed = git("rev-parse", "HEAD"), git("diff", "--quiet", "HEAD")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+" if changed.returncode else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
