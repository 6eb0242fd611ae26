"""Beam search one can touch: a page with the tree of beams, step by step, and a trained network in it.

Claim: the most probable word first is not the most probable sentence. In a chain where the first word has
probabilities .5 and .4, greedy decoding ends at .20, and a beam of two finds .36.

    python -m experiments.beam_demo

trains an LSTM of 32 units on sentences of a small grammar, in half a minute, and writes beam_demo.html to
--workdir: one file that needs no server and no network. It computes the network by the equations of
`seqjax.cells.lstm` and searches as `seqjax.decode.beam_search` does; width, length penalty, groups and
diversity are controls, and a click on a word forces it. (Length penalty: Wu et al., 2016; diverse beam search:
Vijayakumar et al., 2018.)
"""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.beam_demo.chains import CHAINS, END
from experiments.beam_demo.network import train
from experiments.common import cli
from experiments.common.page import page
from seqjax.errors import check_positive
from seqjax.files.writing import write_atomically
from seqjax.runs.workdir import open_workdir

HERE = Path(__file__).parent
ABOUT = (
    "An LSTM of 32 units, trained on captions of a small grammar. It runs in this page. A wide beam finds many"
    " sentences that differ in one word; groups with some diversity find others."
)


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = cli.option(600, "updates of the network")
    seed: int = cli.option(0, "seed of its parameters and sentences")
    workdir: str = cli.workdir_option("beam_demo")

    def __post_init__(self) -> None:
        check_positive("--steps", self.steps, at_most=10**6)


def run(config: Config) -> Path:
    """Trains the network and writes the page; returns its path."""
    with open_workdir(config.workdir, name="beam_demo", resume=False) as workdir:
        print(f"training an LSTM of 32 units for {config.steps} updates", flush=True)
        network = train(config.seed, config.steps).for_page()
        path = workdir / "beam_demo.html"
        write_atomically(path, page(HERE, "beam_demo", data_of(network)))
    print(f"open {path} in a browser")
    return path


def data_of(network: dict[str, Any]) -> dict[str, Any]:
    """The models of the page: chains, and the network."""
    chains = {
        name: {"chain": chain, "width": width, "length": 8, "about": about}
        for name, (chain, width, about) in CHAINS.items()
    }
    last = {"network": network, "width": 3, "length": 12, "about": ABOUT}
    return {"end": END, "models": {**chains, "Trained LSTM": last}}
