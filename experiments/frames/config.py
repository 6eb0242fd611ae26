"""The flags of the program that labels frames."""

import dataclasses

from experiments.common import cli
from experiments.common.labelling import NetworkConfig
from seqjax.errors import check_positive
from seqjax.tasks.motion import TASKS

SIGHTS = ("frame", "window", "forward", "both")


@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    data: str = cli.option("dots,bounces", f"some of {', '.join(TASKS)}; or a folder of gestures")
    sights: str = cli.option(
        "frame,forward",
        f"what a network sees, some of {', '.join(SIGHTS)}: one frame, a window, all before, all",
    )
    window: int = cli.option(5, "number of frames of a window")
    pixels: str = cli.option(
        "linear", "how the pixels of a task are read", choices=("linear", "convolution")
    )
    films: int = cli.option(
        8000, "films of an epoch of a task, new ones in each; none for a folder"
    )
    length: int = cli.option(24, "frames of a film, and of a piece of a gesture film")
    hidden_size: int = cli.option(96, "number of units of every layer, in each direction")
    learning_rate: float = cli.option(5e-3, "learning rate")
    epochs: int = cli.option(16, "number of passes over the training films")
    workdir: str = cli.workdir_option("frames")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        cli.chosen("--sights", self.sights, SIGHTS)
        for name in ("window", "films", "length"):
            check_positive(f"--{name}", getattr(self, name), at_most=10**6)
        if not self.tasks():
            cli.refuse_unused(self, ("films", "pixels"), f"with --data={self.data}")
        if "window" not in self.sights.split(","):
            cli.refuse_unused(self, ("window",), f"with --sights={self.sights}")

    def tasks(self) -> tuple[str, ...]:
        """The tasks that are named; none where the data are a folder."""
        names = tuple(name.strip() for name in self.data.split(","))
        return names if all(name in TASKS for name in names) else ()
