"""An evaluation as a value: a function's name and a record, which any machine can compute."""

import importlib
import importlib.metadata
import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

from seqjax.errors import InputError, one_line

Record = dict[str, Any]  # of what JSON can hold
TRIES = 3  # of a record whose worker dies
PACKAGES = ("jax", "jaxlib", "numpy")


class Result(NamedTuple):
    """What came of a record."""

    row: dict[str, Any] | None  # None if there is none
    error: str = ""  # why


# `(function, records by name)` -> a name and its result, in the order in which they are done; None now
# and then, while nothing is, so that whoever waits can look at other things.
Engine = Callable[[str, Mapping[str, Record]], Generator[tuple[str, Result] | None]]


def evaluate(function: str, record: Record, versions: dict[str, str]) -> Result:
    """Computes one record; whatever it raises becomes the error of its result.

    Args:
      function: "module:name" of a function `record -> row`, both of what JSON can hold.
      record: its argument.
      versions: of the driver, as `versions_here` gives them; others are refused, since their numbers
        may differ.
    """
    here = versions_here()
    other = {name: v for name, v in versions.items() if here.get(name) != v}
    if other:
        found = ", ".join(f"{name} {here.get(name)} for {v}" for name, v in other.items())
        return Result(None, f"this machine has other versions than the driver: {found}.")
    try:
        row = function_of(function)(record)
        json.dumps(row)  # what JSON cannot hold is the evaluation's fault, and said here
        return Result(row)
    except (Exception, SystemExit) as error:
        return Result(None, one_line(f"{type(error).__name__}: {error}"))


def function_of(function: str) -> Callable[[Record], dict[str, Any]]:
    """The function "module:name".

    Raises:
      InputError: if there is none.
    """
    module, _, name = function.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{function} is no function, written as module:name: {error}.") from error


def versions_here() -> dict[str, str]:
    """The versions on which numbers depend."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
