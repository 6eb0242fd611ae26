"""What a task hands out: a batch of sequences and what is asked about them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import jax

from seqjax.errors import InputError, check_positive
from seqjax.types import Array


class Episode(NamedTuple):
    """A batch of sequences with their answers.

    Targets of shape `[B]` are asked for once, after each row's last step; targets of shape
    `[T, B]` at every step. They are int32 classes or float32 values.
    """

    inputs: Array  # [T, B, D] float32, zeros past a row's length
    targets: Array  # [B] or [T, B]
    weights: Array  # float32, shaped as targets: 1 where the answer counts, 0 where it does not
    lengths: Array | None = None  # [B] int32, the valid steps of each row; None: all T


Made = TypeVar("Made")


def in_32_bits(task: Callable[..., Made]) -> Callable[..., Made]:
    """The function in JAX's 32-bit types, whatever the caller's default is: the same key, the same episode."""

    @wraps(task)
    def run(*arguments: Any, **options: Any) -> Made:
        with jax.enable_x64(False):
            return task(*arguments, **options)

    return run


def check_sizes(name: str, batch_size: int, length: int, shortest: int) -> None:
    """Raises InputError unless the batch is not empty and the task fits into its length."""
    check_positive("batch_size", batch_size)
    if check_positive("length", length) < shortest:
        raise InputError(f"{name} needs a length of at least {shortest} steps, got {length}.")
