"""A page on which one drags the gates of an LSTM and of a GRU, and watches their memory.

Claim: a forget gate of 1 with an input gate of 0 freezes the memory, a forget gate of 0 resets it, and
one step with a small forget gate and a large input gate turns it from plural to singular:
c = 0.1 · 0.9 + 0.9 · (-0.9) = -0.72. A GRU that keeps 0.9 of its state goes from 0.8 to 0.67 where its
candidate is -0.5; one that keeps 0.1 goes to -0.37.

    python -m experiments.gates_demo

writes gates_demo.html to --workdir in no time: one file that needs no server and no network. Its
equations are those of `seqjax.cells.lstm` and `seqjax.cells.gru_reset_before` for one unit, with the
gates set by hand. Among its presets are the usual classroom examples, with numbers of our own.
"""

import dataclasses
from pathlib import Path

from experiments.common import cli
from experiments.common.page import page
from seqjax.files.json import write_atomically
from seqjax.runs.workdir import open_workdir

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Config:
    workdir: str = cli.workdir_option("gates_demo")


def run(config: Config) -> Path:
    """Writes the page; returns its path."""
    with open_workdir(config.workdir, name="gates_demo", resume=False) as workdir:
        path = workdir / "gates_demo.html"
        write_atomically(path, page(HERE, "gates_demo"))
    print(f"open {path} in a browser")
    return path
