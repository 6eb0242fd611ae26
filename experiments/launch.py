"""Runs a program as several processes on this machine, which train one network together.

    python -m experiments.launch --processes=2 -- experiments.char_lm --steps=1000

starts the program twice, with `--coordinator`, `--num_processes` and `--process_id`, and shows what each
prints, its number in front. On several machines one starts each process oneself, or lets Slurm do it:
see docs/machines.md. Ctrl-C reaches all of them; when one fails, the others are ended.

With GPUs, `--gpus=1` gives each process one of its own.
"""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from experiments.common import cli
from seqjax.errors import InputError, check_not_negative, check_positive
from seqjax.runs.stopping import ASKING

GRACE_SECONDS = 5  # in which the others may say why they end, before they are ended


@dataclasses.dataclass(frozen=True)
class Config:
    processes: int = cli.option(2, "number of processes")
    gpus: int = cli.option(0, "GPUs of each process; 0: each sees what this program sees")

    def __post_init__(self) -> None:
        check_positive("--processes", self.processes, at_most=256)
        check_not_negative("--gpus", self.gpus)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def gpus_of(config: Config, index: int) -> list[str]:
    """The GPUs of a process, of those that this program may use.

    Raises:
      InputError: if there are not as many.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    last = (index + 1) * config.gpus
    seen = given.split(",") if given else [str(number) for number in range(last)]
    if len(seen) < last:
        raise InputError(
            f"--gpus={config.gpus} needs {last} GPUs, CUDA_VISIBLE_DEVICES has {given}."
        )
    return seen[index * config.gpus : last]


def start(config: Config, arguments: list[str], index: int, port: int) -> subprocess.Popen[str]:
    """Starts one of the processes."""
    environment = dict(os.environ)
    if config.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus_of(config, index))
    module, *flags = arguments
    place = [
        f"--coordinator=127.0.0.1:{port}",
        f"--num_processes={config.processes}",
        f"--process_id={index}",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", module, *flags, *place],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="backslashreplace",
        start_new_session=True,  # a Ctrl-C on the terminal comes to it once, through this program
    )


def show(child: subprocess.Popen[str], index: int) -> None:
    """Prints what a process says until it ends, its number in front of each line."""
    assert child.stdout is not None
    for line in child.stdout:
        print(f"[{index}] {line}", end="", flush=True)


def watch(children: list[subprocess.Popen[str]]) -> int:
    """Waits for all; returns the exit code of the first one that failed, or 0."""
    failed_at, code = 0.0, 0
    while [child for child in children if child.poll() is None]:  # (each is asked)
        failed = [child.returncode for child in children if child.returncode]
        if failed and not code:
            failed_at, code = time.monotonic(), failed[0]
        if code and time.monotonic() - failed_at > GRACE_SECONDS:
            for child in children:
                child.kill()
        time.sleep(0.1)
    return code or next((child.returncode for child in children if child.returncode), 0)


def main(config: Config, arguments: list[str]) -> None:
    """Runs the program; exits as the first of its processes that failed did."""
    if not arguments:
        raise InputError("name a program after --, as in: -- experiments.char_lm --steps=1000.")
    port = free_port()
    children: list[subprocess.Popen[str]] = []

    def forward(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    for number in ASKING:
        signal.signal(number, forward)
    try:
        for index in range(config.processes):
            children.append(start(config, arguments, index, port))
    except (InputError, OSError):
        for child in children:
            child.kill()
        raise
    readers = [threading.Thread(target=show, args=(c, i)) for i, c in enumerate(children)]
    for reader in readers:
        reader.start()
    code = watch(children)
    for reader in readers:
        reader.join()
    if code:
        ends = ", ".join(f"process {i}: {child.returncode}" for i, child in enumerate(children))
        print(f"error: not every process ended well; exit codes: {ends}.", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)


if __name__ == "__main__":
    cli.run(main, Config, positional=True)
