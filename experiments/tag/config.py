"""The flags of the tagger."""

import dataclasses

from experiments.common import cli
from experiments.common.labelling import LabellingConfig
from seqjax.errors import InputError, check_positive

DIRECTIONS = ("forward", "both")
OUTPUTS = ("softmax", "crf")
FEATURES = ("word", "suffix", "case", "letters", "given")


@dataclasses.dataclass(frozen=True)
class Config(LabellingConfig):
    data: str = cli.option(
        "hmm", "hmm, or a folder of .conllu files, or of columns: word, (given,) tag"
    )
    column: str = cli.option("upos", "the tags of CoNLL-U", choices=("upos", "xpos"))
    features: str = cli.option(
        "",
        f"what is read of a word, some of {', '.join(FEATURES)}; all but the last two if empty",
    )
    directions: str = cli.option("forward,both", "how a network reads: forward, both")
    output: str = cli.option("softmax", "how tags are chosen: softmax, crf")
    min_count: int = cli.option(2, "read words that training shows fewer times as unknown")
    examples: int = cli.option(40000, "training sentences, for --data=hmm")
    epochs: int = cli.option(4, "number of passes over the training sentences")
    seeds: int = cli.option(3, "number of networks of each kind, from different seeds")
    workdir: str = cli.workdir_option("tag")
    resume: bool = cli.resume_option()
    predict: str = cli.option("", "train nothing; print the tags of this text", may_differ=True)
    checkpoint: str = cli.option("", "for --predict: the workdir of a run", may_differ=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        cli.chosen("--directions", self.directions, DIRECTIONS)
        cli.chosen("--output", self.output, OUTPUTS)
        if self.features:
            cli.chosen("--features", self.features, FEATURES)
        check_positive("--min_count", self.min_count)
        check_positive("--examples", self.examples, at_most=10**6)
        if self.data != "hmm" and self.examples != Config.examples:
            raise InputError(f"--examples is for --data=hmm, got --data={self.data}.")
        if self.data == "hmm":
            cli.refuse_unused(self, ("column",), "with --data=hmm")
        if self.data == "hmm" and self.features:
            raise InputError(f"--data=hmm has words alone, got --features={self.features}.")
        if bool(self.predict) != bool(self.checkpoint):
            raise InputError('--predict="some text" and --checkpoint=RUN go together.')
