"""The flags of the classifier."""

import dataclasses

from experiments.common import cli
from experiments.common.labelling import LabellingConfig
from seqjax.errors import InputError, check_not_negative, check_positive
from seqjax.layers.pooling import POOLINGS

DIRECTIONS = ("forward", "both")


@dataclasses.dataclass(frozen=True)
class Config(LabellingConfig):
    data: str = cli.option(
        "grammar",
        "grammar, hf:NAME, or a path: a folder, or the beginning of the names of its files",
    )
    pooling: str = cli.option(
        "last,mean,max", f"how the steps become one vector, some of {', '.join(POOLINGS)}"
    )
    directions: str = cli.option("forward,both", "how a network reads: forward, both")
    min_count: int = cli.option(
        1, "read words that training shows fewer times as unknown, unless they have a vector"
    )
    max_length: int = cli.option(400, "number of words of a text that are read; 0 for all")
    clauses: int = cli.option(3, "clauses of a sentence, for --data=grammar")
    examples: int = cli.option(4000, "training sentences, for --data=grammar")
    epochs: int = cli.option(6, "number of passes over the training sentences")
    workdir: str = cli.workdir_option("classify")
    resume: bool = cli.resume_option()
    predict: str = cli.option(
        "", "train nothing; print the probabilities of this text", may_differ=True
    )
    checkpoint: str = cli.option("", "for --predict: the workdir of a run", may_differ=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        cli.chosen("--pooling", self.pooling, POOLINGS)
        cli.chosen("--directions", self.directions, DIRECTIONS)
        check_positive("--min_count", self.min_count)
        check_positive("--clauses", self.clauses, at_most=99)
        check_positive("--examples", self.examples, at_most=10**6)
        check_not_negative("--max_length", self.max_length)
        for name in ("clauses", "examples"):
            if self.data != "grammar" and getattr(self, name) != getattr(Config, name):
                raise InputError(f"--{name} is for --data=grammar, got --data={self.data}.")
        if bool(self.predict) != bool(self.checkpoint):
            raise InputError('--predict="some text" and --checkpoint=RUN go together.')
