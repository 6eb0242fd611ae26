"""The flags of the search, and what they may be."""

import dataclasses

from experiments.architecture_search.candidates import SEEDS
from experiments.architectures.tasks import RECALL, STREAMS, WORDS, Sizes
from experiments.common import cli
from experiments.common.engines import EngineConfig
from seqjax.errors import InputError, check_fraction, check_not_negative, check_positive
from seqjax.tasks.sums import MOST_DIGITS

NAME = "architecture_search"
BATCH_SIZE, WINDOW, RECALL_WINDOW = 20, 35, 11


@dataclasses.dataclass(frozen=True)
class Config(EngineConfig):
    steps: int = cli.option(
        20, "steps of the search; the first two evaluate the GRU and the LSTM", may_differ=True
    )
    tasks: str = cli.option(
        "arithmetic,xml", f"tasks, separated by commas: some of {', '.join((*STREAMS, WORDS))}"
    )
    at_once: int = cli.option(
        1, "steps that are made at once, from what was known before all of them, for --engine"
    )
    settings: int = cli.option(4, "settings at which a cell is tried on a task; published: 20")
    again: float = cli.option(0.25, "share of the steps that try a cell of the list again")
    parameters: int = cli.option(
        20_000, "most parameters of a network; published: 250000 and 1000000"
    )
    updates: int = cli.option(1000, "updates in an epoch, one for each window")
    epochs: int = cli.option(5, "most epochs of a training")
    recall_updates: int = cli.option(500, "updates in an epoch of the string to be recalled")
    recall_epochs: int = cli.option(8, "most epochs of a training on the string to be recalled")
    held_out: int = cli.option(40, "windows for validation, and as many for the test")
    max_digits: int = cli.option(4, "most digits of a number in arithmetic, 1 to 9; published: 8")
    data: str = cli.option("stdlib", "the text for words: stdlib, hf:NAME or a path")
    devices: int = cli.option(
        2, "most CPU cores, or other devices, that share the settings", may_differ=True
    )
    seed: int = cli.option(0, "seed of the changes, the settings and the weights")
    evaluate: str = cli.option(
        "", "a file with one job, to be evaluated in place of a search", may_differ=True
    )
    workdir: str = cli.workdir_option(NAME)
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "settings",
            "parameters",
            "updates",
            "epochs",
            "recall_updates",
            "recall_epochs",
            "held_out",
            "devices",
            "at_once",
        ):
            check_positive(f"--{name}", getattr(self, name))
        if check_positive("--steps", self.steps) < len(SEEDS):
            raise InputError("--steps must be at least 2, those of the GRU and the LSTM, got 1.")
        check_positive("--max_digits", self.max_digits, MOST_DIGITS)
        check_fraction("--again", self.again)
        check_not_negative("--seed", self.seed)
        if WORDS not in self.task_names() and self.data != "stdlib":
            raise InputError(f"--data is the text for --tasks={WORDS}, got {self.data!r}.")

    def task_names(self) -> tuple[str, ...]:
        return cli.chosen("--tasks", self.tasks, (*STREAMS, WORDS))

    def sizes(self, task: str) -> Sizes:
        if task == RECALL:
            return Sizes(BATCH_SIZE, RECALL_WINDOW, self.recall_updates, self.held_out)
        return Sizes(BATCH_SIZE, WINDOW, self.updates, self.held_out)
