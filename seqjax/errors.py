"""The two errors a person may see as one sentence without a traceback, and common checks."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LONGEST = 2000  # characters of a message
LARGEST_INT = 2**31 - 1  # JAX counts in int32


class InputError(ValueError):
    """Bad input from a person. Its message names what was given and what to write instead.

    Programs print the message and exit with code 2; only bugs show a traceback.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


class RunError(RuntimeError):
    """A run that cannot go on: diverged, or found its files in a state it cannot use."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """The text as one line that any terminal can show, its middle left out if it is long.

    What was given may stand in it: names with line breaks, lone surrogates, control sequences.
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """A value as an error shows it, in at most 60 characters."""
    try:
        return f"{value!r:.60}"
    except (ValueError, RecursionError):  # Python writes no integer of more than 4300 digits
        return f"a very large {type(value).__name__}"


def reason(error: Exception) -> str:
    """What an error says, on one line: of the system's errors without the number and the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")


def check_positive(name: str, value: Any, at_most: int = LARGEST_INT) -> int:
    """Returns `value` if it is an integer from 1 to `at_most`, else raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be an integer of at least 1, got {shown(value)}.")
    if value > at_most:
        raise InputError(f"{name} must be at most {at_most}, got {shown(value)}.")
    return int(value)


def check_fraction(name: str, value: float) -> float:
    """Returns `value` if it lies in [0, 1), else raises InputError."""
    if not _holds(lambda: 0 <= value < 1):
        raise InputError(f"{name} must lie in [0, 1), got {shown(value)}.")
    return value


def check_rate(name: str, value: float) -> float:
    """Returns `value` if it is a finite number above zero, else raises InputError."""
    if not _holds(lambda: 0 < value <= sys.float_info.max):
        raise InputError(f"{name} must be a finite number above 0, got {shown(value)}.")
    return value


def check_not_negative(name: str, value: float) -> float:
    """Returns `value` if it is a finite number of at least zero, else raises InputError."""
    if not _holds(lambda: 0 <= value <= sys.float_info.max):
        raise InputError(f"{name} must be a finite number of at least 0, got {shown(value)}.")
    return value


def _holds(test: Callable[[], bool]) -> bool:
    """Whether a comparison holds; what cannot be compared does not."""
    try:
        return bool(test())
    except (TypeError, ValueError):
        return False
