"""The engine of a Slurm cluster, by submitit. It needs the package `submitit`."""

import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from seqjax.errors import InputError, RunError, check_positive, one_line
from seqjax.search.engines.records import TRIES, Engine, Record, Result, evaluate, versions_here

TICK_SECONDS = 1.0


def on_slurm(
    folder: Path, *, cluster: str = "slurm", workers: int = 100, **parameters: Any
) -> Engine:
    """An engine of Slurm jobs, one for each record.

    A job that is cancelled, runs out of time or dies is submitted again, three times at most.

    Args:
      folder: where submitit keeps scripts, logs and results; all nodes must see it.
      cluster: "slurm"; "local" runs the jobs as processes of this machine, to try it out.
      workers: jobs that are queued or run at once.
      **parameters: of `submitit.AutoExecutor`, as `slurm_partition="gpu"`, `timeout_min=60`.

    Raises:
      InputError: if submitit is not installed.
      RunError: if there is no such cluster here.
    """
    check_positive("workers", workers)
    try:
        import submitit
        from submitit.core.utils import FailedJobError, UncompletedJobError
    except ImportError as error:
        raise InputError("engine=slurm needs submitit: pip install 'seqjax[slurm]'.") from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**({"timeout_min": 60} | parameters))
    except (RuntimeError, ValueError, NameError, OSError) as error:
        raise RunError(f"cannot use Slurm: {one_line(str(error)).rstrip('.')}.") from error

    def run(function: str, records: Mapping[str, Record]) -> Generator[tuple[str, Result] | None]:
        versions = versions_here()
        waiting = iter(records.items())
        jobs: dict[str, tuple[Any, Record, int]] = {}  # the job, its record, how often begun

        def submit(name: str, record: Record, tries: int) -> None:
            try:
                job = executor.submit(evaluate, function, record, versions)
            except (FailedJobError, OSError, RuntimeError) as error:
                reason = one_line(str(error)).rstrip(".")
                raise RunError(f"cannot submit to Slurm: {reason}.") from error
            jobs[name] = (job, record, tries)

        try:
            while True:
                while len(jobs) < workers and (item := next(waiting, None)) is not None:
                    submit(*item, 1)
                if not jobs:
                    return
                done = [name for name, (job, *_) in jobs.items() if job.done()]
                if not done:
                    yield None
                    time.sleep(TICK_SECONDS)
                for name in done:
                    job, record, tries = jobs.pop(name)
                    try:
                        yield name, job.result()
                    except (UncompletedJobError, FailedJobError) as error:
                        if tries < TRIES:
                            submit(name, record, tries + 1)
                        else:
                            first = (str(error).strip().splitlines() or ["no reason given"])[0]
                            yield name, Result(None, f"its job died, {TRIES} times: {first}")
        finally:
            for job, *_ in jobs.values():
                with suppress(Exception):
                    job.cancel()

    return run
