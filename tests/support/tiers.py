"""Which tests run always, and which only with `--long`. (Those marked `whole` run with `-m whole`, too.)

What a cell must be itself (its equations, gradients and lengths) is tested for every row of
`CELLS`. What the library does with a cell (masks, precision, devices, models, diagnosis) is tested
for three cells that differ in what the library reads of them, and for all others with `--long`.
"""

from collections.abc import Iterable

import hypothesis
import pytest

from seqjax import CELLS

SOME_CELLS = (
    "rnn",  # one product of the input and one of the state, no gates
    "lstm",  # a state of two parts; gates cut out of one product and joined again
    "lstm_fgr",  # gates that are part of the state; a second product of the state
)


def long_only(value: object):
    """The value as a parameter of a test, in the long tier alone."""
    return pytest.param(value, marks=pytest.mark.long)


def some_cells(names: Iterable[str] = CELLS) -> list:
    """The names as parameters of a test; those that are not of the three are marked `long`."""
    return [pytest.param(name) if name in SOME_CELLS else long_only(name) for name in names]


def cases(short: int, long: int) -> hypothesis.settings:
    """So many random cases, for a test each of whose cases compiles a program."""
    is_long = hypothesis.settings.get_current_profile_name() == "long"
    return hypothesis.settings(max_examples=long if is_long else short)
