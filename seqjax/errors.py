"""The two errors a person may see as one sentence without a traceback, and common checks."""

from typing import Any


class InputError(ValueError):
    """Bad input from a person. Its message names what was given and what to write instead.

    Programs print the message and exit with code 2; only bugs show a traceback.
    """


class RunError(RuntimeError):
    """A run that cannot go on: diverged, or found its files in a state it cannot use."""


def check_positive(name: str, value: Any) -> int:
    """Returns `value` if it is an integer of at least 1, else raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be an integer of at least 1, got {value!r}.")
    return value


def check_fraction(name: str, value: float) -> float:
    """Returns `value` if it lies in [0, 1), else raises InputError."""
    if not 0 <= value < 1:
        raise InputError(f"{name} must lie in [0, 1), got {value}.")
    return value


def check_rate(name: str, value: float) -> float:
    """Returns `value` if it is a finite number above zero, else raises InputError."""
    if not 0 < value < float("inf"):
        raise InputError(f"{name} must be a finite number above 0, got {value}.")
    return value


def check_not_negative(name: str, value: float) -> float:
    """Returns `value` if it is a finite number of at least zero, else raises InputError."""
    if not 0 <= value < float("inf"):
        raise InputError(f"{name} must be a finite number of at least 0, got {value}.")
    return value
