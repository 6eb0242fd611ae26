"""Several processes that train one network: who is there, and what the first one tells the others.

Each process runs the same program on the same data, in the same order; a mesh of all their devices
(`batch_mesh`) gives each its share of every batch. The disk is the first one's: what it finds
there, it tells the others. A process alone tells itself.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqjax.errors import InputError, RunError, check_not_negative, check_positive

Value = TypeVar("Value")
Tree = TypeVar("Tree")
AUTO = "auto"
HEARTBEAT_SECONDS = 10  # after which a process that says nothing is lost
START_SECONDS = 120  # for which processes wait for one another at the start
LARGEST = 1 << 28  # bytes in one message
PAGE = 4096  # bytes that are told at once
ERRORS = (InputError, RunError)  # told as what they are


def join(coordinator: str, count: int, index: int) -> None:
    """Makes this process one of several; call it before anything is computed.

    Args:
      coordinator: HOST:PORT of the first process, where all others can reach it; "auto" where JAX
        finds everything by itself, as under Slurm, Kubernetes or on TPUs.
      count: of processes.
      index: of this one, from 0.

    Raises:
      InputError: if these cannot be.
      RunError: if the address cannot be used. If the others do not come within two minutes, the
        process ends.
    """
    how: dict[str, Any] = {}
    if coordinator != AUTO:
        check_positive("num_processes", count)
        check_not_negative("process_id", index)
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InputError(
                f"coordinator={coordinator} must be HOST:PORT, the first process's, or {AUTO}."
            )
        if index >= count:
            raise InputError(f"process_id={index} must be below num_processes={count}.")
        if index == 0:
            _check_free(coordinator, int(port))
        how = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    with _deadline(coordinator):
        try:
            jax.distributed.initialize(
                **how,
                initialization_timeout=2 * START_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=24 * 3600,  # the first one may write much at the end
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise RunError(
                f"cannot join the processes at coordinator={coordinator}: {reason}."
            ) from error


def _check_free(coordinator: str, port: int) -> None:
    """Raises RunError if somebody listens on the port: JAX would crash."""
    try:
        with socket.create_server(("", port)):
            pass
    except OSError as error:
        raise RunError(
            f"coordinator={coordinator} cannot be used: {error.strerror}; name another port."
        ) from error


@contextmanager
def _deadline(coordinator: str) -> Iterator[None]:
    """Ends this process with a sentence if the others do not come in time: JAX would abort."""

    def leave() -> None:
        print(
            f"error: not all processes met at {coordinator} within {START_SECONDS} seconds: start"
            " all of them, each with this address and its own number.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(START_SECONDS, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def several() -> bool:
    """Whether there are others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether the disk is this process's."""
    return not several() or jax.process_index() == 0


def whole(tree: Any) -> Any:
    """Every array whole, in NumPy, though its parts lie on the devices of several processes."""
    if not several():
        return tree
    return jax.tree.map(
        lambda x: (
            multihost_utils.process_allgather(x, tiled=True)
            if isinstance(x, jax.Array) and not x.is_fully_addressable
            else np.asarray(x)
        ),
        tree,
    )


def told(find: Callable[[], Value]) -> Value:
    """What `find()` gives in the first process, in all; it is called in no other.

    Args:
      find: gives what JSON can hold. An InputError or RunError that it raises is raised in all.
    """
    if not several():
        return find()
    said: dict[str, Any] = {}
    if is_first():
        try:
            said = {"value": find()}
        except ERRORS as error:
            said = {"error": [type(error).__name__, str(error)]}
    said = json.loads(_told_bytes(json.dumps(said).encode()))
    if "error" in said:
        _raise(*said["error"])
    return said["value"]


def _raise(name: str, message: str) -> NoReturn:
    raise next(error for error in ERRORS if error.__name__ == name)(message)


def _told_bytes(text: bytes) -> bytes:
    count = multihost_utils.broadcast_one_to_all(np.array(divmod(len(text), LARGEST), np.int32))
    pieces = int(count[0]) * [LARGEST] + [int(count[1])]
    parts, at = [], 0
    for size in pieces:
        parts.append(_told_piece(text[at : at + size], size))
        at += size
    return b"".join(parts)


def _told_piece(text: bytes, size: int) -> bytes:
    padded = np.zeros(
        -(-size // PAGE) * PAGE, np.uint8
    )  # few sizes: a program is compiled for each
    if is_first():
        padded[:size] = np.frombuffer(text, np.uint8)
    # Whole words: the sum with the others' zeros must not touch a bit, as it would of a -0.0.
    return np.asarray(multihost_utils.broadcast_one_to_all(padded.view(np.uint32))).tobytes()[:size]


def told_arrays(find: Callable[[], Tree], like: Tree) -> Tree:
    """A tree of arrays that `find()` gives in the first process, in all, placed as `like` is.

    What `find` raises is raised as by `told`.
    """
    if not several():
        return find()
    found: list[np.ndarray] = []

    def look() -> None:
        found.extend(np.asarray(leaf) for leaf in jax.tree.leaves(find()))

    told(look)
    text = _told_bytes(b"".join(array.tobytes() for array in found))
    leaves, at = [], 0
    for x in jax.tree.leaves(like):
        size = x.size * x.dtype.itemsize
        array = np.frombuffer(text[at : at + size], x.dtype).reshape(x.shape)
        leaves.append(jax.device_put(array, x.sharding) if isinstance(x, jax.Array) else array)
        at += size
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def most(*values: int) -> list[int]:
    """The greatest of each number among all processes: with it all decide alike."""
    if not several():
        return list(values)
    return multihost_utils.process_allgather(np.array(values, np.int32)).max(axis=0).tolist()
