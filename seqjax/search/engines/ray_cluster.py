"""The engine of a Ray cluster, whoever made it. It needs the package `ray`."""

import os
import socket
from collections.abc import Generator, Mapping
from typing import Any

import jax

from seqjax.errors import InputError, RunError, one_line
from seqjax.search.engines.own_core import evaluate_on_own_core
from seqjax.search.engines.records import TRIES, Engine, Record, Result, evaluate, versions_here

TICK_SECONDS = 1.0
IN_FLIGHT = 1000  # records that the cluster knows of at once
TOKENS = (
    " If the cluster asks for a token, set RAY_AUTH_MODE=token; it is read from ~/.ray/auth_token."
)


def on_ray(address: str = "", *, cpus: float = 1, gpus: float = 0) -> Engine:
    """An engine of the tasks of a Ray cluster; its nodes need the driver's versions of seqjax and JAX.

    A task whose worker or node dies is begun again elsewhere, three times at most.

    Args:
      address: of a cluster, as `ray.init` takes it ("auto", HOST:PORT, ray://HOST:PORT); "" for one of this
        machine's cores, which ends with the search.
      cpus: of each evaluation.
      gpus: of each evaluation, or a share of one.

    Raises:
      InputError: if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("engine=ray needs Ray: pip install 'seqjax[ray]'.") from error

    def run(function: str, records: Mapping[str, Record]) -> Generator[tuple[str, Result] | None]:
        began = not ray.is_initialized()
        if began:
            _connect(ray, address)
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=TRIES - 1)(
            evaluate_on_own_core if cpus == 1 else evaluate
        )
        versions = versions_here()
        waiting = iter(records.items())
        names: dict[Any, str] = {}
        try:
            while True:
                while len(names) < IN_FLIGHT and (item := next(waiting, None)) is not None:
                    names[task.remote(function, item[1], versions)] = item[0]
                if not names:
                    return
                done, _ = ray.wait(list(names), num_returns=1, timeout=TICK_SECONDS)
                if not done:
                    yield None
                for reference in done:
                    yield names.pop(reference), _result(ray, reference)
        finally:
            for reference in names:
                ray.cancel(reference, force=True)
            if began:
                ray.shutdown()

    return run


def _connect(ray: Any, address: str) -> None:
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            with socket.create_connection((host, int(port)), timeout=10):
                pass
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": _environment()},
        )
    except (RuntimeError, ValueError, OSError, OverflowError) as error:
        reason = one_line(str(error)).rstrip(".")
        advice = "" if os.environ.get("RAY_AUTH_MODE") else TOKENS
        raise RunError(
            f"cannot reach Ray at {address or 'this machine'}: {reason}.{advice}"
        ) from error


def _environment() -> dict[str, str]:
    """What the cluster's processes are told: where compiled programs are kept."""
    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    return {"JAX_COMPILATION_CACHE_DIR": str(folder)} if folder else {}


def _result(ray: Any, reference: Any) -> Result:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return Result(None, f"its task died, {TRIES} times: {first}.")
