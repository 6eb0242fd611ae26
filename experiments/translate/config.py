"""The flags of the translator."""

import dataclasses

from experiments.common import cli
from experiments.common.cells import cell_option
from experiments.common.labelling import NetworkConfig
from seqjax.data.orders import PAIR_ORDERS
from seqjax.data.tokens import UNITS
from seqjax.decode.beam import LENGTH_PENALTIES
from seqjax.errors import InputError, check_fraction, check_not_negative, check_positive
from seqjax.layers.attention import SCORES
from seqjax.tasks.rewriting import TASKS

READS = ("none", "context", *SCORES)  # how the decoder reads the source
OF_TEXT = ("source", "target", "test", "unit", "vocab_size", "min_count", "lowercase")
OF_TASKS = ("examples", "longest")


@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    data: str = cli.option(
        "dates,copy",
        f"some of {', '.join(TASKS)}; or a folder of parallel text: train.SOURCE and train.TARGET",
    )
    source: str = cli.option("de", "what the names of source files end in, for a folder")
    target: str = cli.option("en", "what the names of target files end in, for a folder")
    test: str = cli.option("", "name of the test files, where a folder has several")
    unit: str = cli.option("subword", "what a token is, for a folder", choices=UNITS)
    vocab_size: int = cli.option(0, "most tokens of each language, for a folder; 0: 8000 subwords")
    min_count: int = cli.option(2, "how often a word, or a pair of letters, must occur to count")
    lowercase: bool = cli.option(True, "whether the case of letters is dropped")
    max_length: int = cli.option(60, "the most tokens of a sentence, and of its translation")
    too_long: str = cli.option(
        "cut", "what to do with longer sentences in training", choices=("cut", "refuse")
    )
    examples: int = cli.option(10_000, "training pairs of a task; none for a folder")
    longest: int = cli.option(20, "greatest length of the strings of a task; none for a folder")
    attention: str = cli.option(
        "additive,none",
        f"how the decoder reads the source, some of {', '.join(READS)}; context: a summary at every"
        " step",
    )
    cell: str = cell_option("gru", "the recurrent cell of both networks")
    hidden_size: int = cli.option(64, "number of units of each layer, in each direction")
    embedding_size: int = cli.option(32, "size of a token's vector")
    bidirectional: bool = cli.option(True, "whether the encoder reads in both directions")
    reverse_source: bool = cli.option(False, "whether the encoder reads from the end")
    bridge: str = cli.option(
        "dense",
        "what the decoder begins with: dense, of the encoder's last outputs; copy, its states",
        choices=("dense", "copy"),
    )
    tie_weights: bool = cli.option(True, "whether the decoder's embedding is its output's kernel")
    teacher_forcing: float = cli.option(
        1.0, "probability that the decoder reads the true token in training, and not its own"
    )
    label_smoothing: float = cli.option(0.0, "share of each label that is spread over all tokens")
    order: str = cli.option("pools", "which pairs share a batch", choices=PAIR_ORDERS)
    batch_size: int = cli.option(32, "number of pairs in a batch")
    epochs: int = cli.option(4, "number of passes over the training pairs")
    beam: int = cli.option(5, "width of the beam search that is tested")
    length_penalty: str = cli.option(
        "average",
        "what a log-probability is divided by, to rank translations",
        choices=LENGTH_PENALTIES,
    )
    alpha: float = cli.option(0.6, "of --length_penalty=wu")
    workdir: str = cli.workdir_option("translate")
    resume: bool = cli.resume_option()
    translate: str = cli.option(
        "", "train nothing; translate this, by --checkpoint", may_differ=True
    )
    stdin: bool = cli.option(
        False, "train nothing; translate each line of the standard input", may_differ=True
    )
    curve: str = cli.option(
        "",
        "train nothing; BLEU of a saved network at these widths, such as 1,2,5,10",
        may_differ=True,
    )
    checkpoint: str = cli.option("", "the run whose network translates", may_differ=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        reads = cli.chosen("--attention", self.attention, READS)
        if "dot" in reads and self.bidirectional:
            raise InputError(
                "--attention=dot compares vectors of one size: give --nobidirectional, or another attention."
            )
        for name in ("embedding_size", "min_count", "max_length", "examples", "longest", "beam"):
            check_positive(f"--{name}", getattr(self, name))
        check_positive("--embedding_size", self.embedding_size, at_most=2**16)
        check_positive("--examples", self.examples, at_most=10**7)
        check_positive("--longest", self.longest, at_most=1000)
        check_positive("--max_length", self.max_length, at_most=10_000)
        check_positive("--beam", self.beam, at_most=1000)
        check_not_negative("--vocab_size", self.vocab_size)
        check_not_negative("--alpha", self.alpha)
        check_fraction("--label_smoothing", self.label_smoothing)
        if not 0 <= self.teacher_forcing <= 1:
            raise InputError(f"--teacher_forcing must lie in [0, 1], got {self.teacher_forcing}.")
        unused = OF_TEXT if self.tasks() else OF_TASKS
        cli.refuse_unused(self, unused, f"with --data={self.data}")
        if self.beams() and max(self.beams()) > 1000:
            raise InputError(f"--curve takes widths up to 1000, got {self.curve}.")
        modes = [bool(self.translate), self.stdin, bool(self.curve)]
        if sum(modes) > 1 or any(modes) != bool(self.checkpoint):
            raise InputError(
                'give --checkpoint=RUN with one of --translate="some text", --stdin and --curve=1,5.'
            )

    def tasks(self) -> tuple[str, ...]:
        """The tasks that are named; none where the data are a folder."""
        names = tuple(name.strip() for name in self.data.split(","))
        return names if all(name in TASKS for name in names) else ()

    def beams(self) -> list[int]:
        """The widths of --curve."""
        parts = [part.strip() for part in self.curve.split(",") if part.strip()]
        if (self.curve and not parts) or not all(p.isdecimal() and int(p) for p in parts):
            raise InputError(f"--curve takes widths such as 1,2,5,10, got {self.curve!r}.")
        return [int(part) for part in parts]
