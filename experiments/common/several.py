"""The flags by which a program becomes one of several processes, and how such a one ends."""

import os
import re
import sys
import traceback

import jax
from absl import flags

from seqjax.devices.processes import join
from seqjax.errors import InputError

LOST = (
    "another process of this run has ended, or cannot be reached: what it printed says why. Go on"
    " with --resume --workdir=RUN in all of them."
)
_LOST = re.compile(r"gloo|coordination service|connection (reset|closed|refused)", re.IGNORECASE)


def define_flags() -> None:
    """Defines --coordinator, --num_processes and --process_id."""
    flags.DEFINE_string(
        "coordinator",
        "",
        "HOST:PORT of the first of several processes that train one network; auto: as Slurm,"
        " Kubernetes or a TPU says; empty: this process is alone",
    )
    flags.DEFINE_integer("num_processes", 0, "how many processes there are, with --coordinator")
    flags.DEFINE_integer("process_id", 0, "which of them this one is, from 0, with --coordinator")


def join_as_flags_say() -> None:
    """Joins the other processes, if there is a --coordinator."""
    values = flags.FLAGS
    if values.coordinator:
        join(values.coordinator, values.num_processes, values.process_id)
    elif values.num_processes or values.process_id:
        raise InputError("--num_processes and --process_id need --coordinator=HOST:PORT.")


def has_lost_another(error: Exception) -> bool:
    """Whether an error means that another process is there no longer."""
    return jax.distributed.is_initialized() and bool(_LOST.search(str(error)))


def leave(code: int) -> None:
    """Ends one of several processes at once; does nothing where there is one.

    The usual end waits for all, and who fails would be waited for by others that wait for it.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def leave_after(error: Exception) -> None:
    """... with the traceback of an error that nobody foresaw."""
    if jax.distributed.is_initialized():
        traceback.print_exception(error)
        leave(1)
