"""The flags of the search, and what they may be."""

import dataclasses

from experiments.common import cli
from experiments.common.engines import EngineConfig
from experiments.lstm_variants import analysis, tasks
from seqjax import CELLS
from seqjax.errors import InputError, check_not_negative, check_positive, check_rate

NAME = "lstm_variants"


@dataclasses.dataclass(frozen=True)
class Config(EngineConfig):
    task: str = cli.option("harmony", "the task to learn", choices=tasks.TASKS)
    data_dir: str = cli.option("", "file or directory of the data; harmony needs none")
    variants: str = cli.option(
        "", "names of cells, separated by commas; empty for the nine published"
    )
    trials: int = cli.option(8, "number of trials of each variant")
    hidden_min: int = cli.option(20, "fewest hidden units of a trial")
    hidden_max: int = cli.option(200, "most hidden units of a trial")
    rate_min: float = cli.option(1e-6, "lowest learning rate")
    rate_max: float = cli.option(1e-2, "highest learning rate")
    momentum_min: float = cli.option(0.01, "lowest value of 1 - momentum; the highest is 1")
    noise_max: float = cli.option(1.0, "highest standard deviation of the noise on the inputs")
    patience: int = cli.option(
        15, "epochs without a better validation score after which a trial stops"
    )
    max_epochs: int = cli.option(30, "most epochs of a trial; published: 150")
    chunk: int = cli.option(8, "number of trials that are trained side by side")
    devices: int = cli.option(1, "number of CPU cores, or other devices, that share a chunk")
    skip: str = cli.option("", "broken lines of handwriting to leave out, separated by commas")
    seed: int = cli.option(0, "seed of the trials, weights, noise and order of the data")
    save_seconds: int = cli.option(
        60, "seconds after which the current chunk is saved again", may_differ=True
    )
    analyse_only: bool = cli.option(
        False, "train nothing, and analyse trials.jsonl in --workdir", may_differ=True
    )
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("trials", "patience", "max_epochs", "chunk", "devices", "save_seconds"):
            check_positive(f"--{name}", getattr(self, name))
        for name in ("hidden_min", "hidden_max"):
            check_positive(f"--{name}", getattr(self, name), at_most=4096)
        for name in ("rate_min", "rate_max", "momentum_min"):
            check_rate(f"--{name}", getattr(self, name))
        check_not_negative("--noise_max", self.noise_max)
        check_not_negative("--seed", self.seed)
        for low, high in (("hidden_min", "hidden_max"), ("rate_min", "rate_max")):
            a, b = getattr(self, low), getattr(self, high)
            if a > b:
                raise InputError(f"--{low} must be at most --{high}, got {a} and {b}.")
        if self.momentum_min > 1:
            raise InputError(f"--momentum_min must be at most 1, got {self.momentum_min}.")
        if (self.resume or self.analyse_only) and not self.workdir:
            raise InputError("--resume and --analyse_only need --workdir=DIRECTORY, the run.")
        if self.data_dir and self.task == "harmony":
            raise InputError(f"--task=harmony takes no --data_dir, got {self.data_dir!r}.")
        if self.skip and self.task != "handwriting":
            raise InputError(f"--skip is for --task=handwriting, got {self.skip!r}.")
        self.names()

    def names(self) -> list[str]:
        """The names of the variants' cells."""
        known = [name for name in CELLS if name in analysis.PUBLISHED]
        names = [name.strip() for name in self.variants.split(",")] if self.variants else known
        for name in names:
            if name not in known:
                raise InputError(f"unknown variant {name!r}; there are {', '.join(known)}.")
        if len(set(names)) < len(names):
            raise InputError(f"--variants names one twice: {self.variants}.")
        return names
