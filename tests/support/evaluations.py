"""Evaluations for the tests of engines: functions of one JSON record."""

import os
import signal
import time
from pathlib import Path


def square(record):
    """Its square; "seconds" later, if it says."""
    time.sleep(record.get("seconds", 0))
    return {"square": record["x"] ** 2, "pid": os.getpid()}


def sometimes(record):
    """Dies as many times as "dies" says, raises if "raises" does, and counts its beginnings in a file."""
    with open(Path(record["folder"]) / str(record["x"]), "a+") as begun:
        begun.write("begun\n")
        begun.seek(0)
        times = len(begun.readlines())
    if times <= record.get("dies", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if record.get("raises"):
        raise ValueError(f"x = {record['x']}\nis none")
    print("what an evaluation prints disturbs nobody")
    return {"square": record["x"] ** 2}


def core(record):
    """On which cores it may run, and how many threads JAX makes of that."""
    import jax

    time.sleep(0.3)
    jax.numpy.zeros(3).block_until_ready()
    return {"cores": sorted(os.sched_getaffinity(0))}


def array(record):
    """A row that JSON cannot hold."""
    import numpy as np

    return {"x": np.float32(1)}
