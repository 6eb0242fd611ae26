"""The tasks of the sweep, and the networks that are set beside the LSTM."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from experiments.common import jozefowicz
from seqjax import init
from seqjax.cells import CELLS
from seqjax.errors import InputError
from seqjax.tasks import TASKS, Episode, arithmetic, copying
from seqjax.tasks.sums import ALPHABET as SUM_SYMBOLS
from seqjax.tasks.tags import ALPHABET as XML_SYMBOLS
from seqjax.types import Array, Cell, Initializer

# The paper's networks that stand beside the LSTM, in the order of the table; the one whose output gate
# is a tanh is what the paper has in print.
OTHERS = ("LSTM-f", "LSTM-i", "LSTM-o", "LSTM, o = tanh", "tanh", "GRU", "MUT1", "MUT2", "MUT3")
NETWORKS = jozefowicz.NETWORKS | {"LSTM, o = tanh": "lstm_tanh_output_gate"}
# The paper's LSTM and LSTM-b are two points of the sweep, with forget bias 0 and 1.
_BIASES = {"LSTM": "LSTM, b = 0", "LSTM-b": "LSTM, b = 1"}
PUBLISHED = {
    task: {_BIASES.get(name, name): row[i] for name, row in jozefowicz.TABLE_1.items()}
    for i, task in enumerate(jozefowicz.TABLE_1_TASKS)
}
CHRONO = "chrono"
COPY_SYMBOLS, COPY_VALUES = 2, 4


class Task(NamedTuple):
    draw: Callable[..., Episode]  # (key, batch_size, length)
    length: int  # steps of a sequence, or of the window that a gradient goes back through
    outputs: int  # classes, or 1 for a number
    variance: float = 0.0  # of the number to be answered; 0 where a class is
    carried: bool = False  # an endless stream: the state goes on from window to window
    every_step: bool = False  # an answer at every step, of which some count, or one after the last


@lru_cache  # compiled programs are cached by task, which compares by identity
def tasks(study: str, length: int, max_digits: int) -> dict[str, Task]:
    """The tasks of a study.

    Raises:
      InputError: if a task cannot have that length, or sums cannot have so many digits.
    """
    if study == "toys":
        if length < 10:
            raise InputError(
                f"--length must be at least 10 steps for temporal order, got {length}."
            )
        return {
            "temporal order": Task(TASKS["temporal_order_2_bit"], length, 4),
            "adding": Task(TASKS["adding_urnn"], length, 1, variance=1 / 6),
        }
    if study == "copying":
        if length <= 2 * COPY_SYMBOLS:
            raise InputError(
                f"--length must be at least {2 * COPY_SYMBOLS + 1} steps for copying, got {length}."
            )
        return {"copying": Task(copied, length, COPY_VALUES + 1, every_step=True)}
    symbols = XML_SYMBOLS if study == "xml" else SUM_SYMBOLS
    draw = TASKS["xml"] if study == "xml" else partial(arithmetic, max_digits=max_digits)
    return {study: Task(draw, length, len(symbols), carried=True, every_step=True)}


def copied(key: Array, batch_size: int, length: int) -> Episode:
    """The copying problem in `length` steps, of which only the answers count."""
    lag = length - 2 * COPY_SYMBOLS
    episode = copying(key, batch_size, lag, num_symbols=COPY_SYMBOLS, num_values=COPY_VALUES)
    return episode._replace(weights=episode.weights.at[:-COPY_SYMBOLS].set(0))


def bias_init(label: str, length: int) -> Initializer:
    """The initialiser of an LSTM's biases that a label names: "chrono" or, say, "b = 3"."""
    if label == CHRONO:
        return init.chrono(length)
    return init.forget_bias(float(label.removeprefix("b = ")))


def make_cell(network: str, hidden: int) -> Cell:
    """A cell with weights from U(-1/√H, 1/√H), the middle of the paper's grid, and biases of 0."""
    draw = init.uniform(hidden**-0.5)
    return CELLS[NETWORKS[network]](
        hidden, kernel_init=draw, recurrent_init=draw, bias_init=init.zeros
    )
