"""The cell that a flag names: one of seqjax, or a function of the user's own."""

import importlib
from collections.abc import Callable
from typing import Any

from experiments.common import cli
from seqjax.cells import CELLS
from seqjax.errors import InputError
from seqjax.types import Cell


def cell_option(default: str = "lstm", help: str = "the recurrent cell") -> Any:
    """The field `cell` of a program: its factory is `factory_of` its value."""
    return cli.option(
        default, f"{help}; also MODULE:FUNCTION, of your own", tuple(CELLS), check=factory_of
    )


def factory_of(name: str) -> Callable[..., Cell]:
    """What makes the cell of a name, given the number of units.

    Args:
      name: of `CELLS`, or "module:function" that Python can import; a name in a file is none of these
        (`cli.checked`), since what stands in it would be run.

    Raises:
      InputError: if there is none, or it makes no cell.
    """
    if name in CELLS:
        return CELLS[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise InputError(
            f"cell={name} is none of {', '.join(CELLS)}, and not MODULE:FUNCTION of your own."
        )
    try:
        factory = getattr(importlib.import_module(module), function)
        cell = factory(8)
    except Exception as error:  # whatever the user's module raises
        raise InputError(f"cell={name} cannot be used: {type(error).__name__}: {error}") from error
    if not isinstance(cell, Cell):
        raise InputError(
            f"cell={name} must make a seqjax.Cell of a number of units, got {type(cell).__name__}."
        )
    return factory
