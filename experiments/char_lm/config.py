"""The flags of the character language model."""

import dataclasses
import math

from experiments.common import cli
from experiments.common.cells import cell_option
from experiments.common.devices import devices_option
from experiments.common.language_models import RECURRENT_DROPOUT, check_config
from seqjax.errors import InputError, check_not_negative, check_positive, check_rate
from seqjax.training.optimizers import OPTIMIZERS, SCHEDULES

DEFAULT_STEPS = 3000
OF_SAMPLING = (
    *("sample_only", "checkpoint", "prime", "length", "seed", "beam"),
    *("temperature", "top_k", "top_p", "repetition_penalty"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    # the model
    cell: str = cell_option()
    layers: int = cli.option(1, "number of recurrent layers")
    hidden_size: int = cli.option(
        256, "number of units in each layer, and the size of a character's vector"
    )
    dropout: float = cli.option(0.0, "share of units dropped on non-recurrent connections")
    same_mask: bool = cli.option(False, "drop the same units at all steps of a window")
    recurrent_dropout: float = cli.option(
        0.0, "share of the recurrence that is dropped in training"
    )
    recurrent_mask: str = cli.option(
        "variational",
        "what recurrent_dropout drops: units of the state, the same at all steps of a window (variational) or"
        " new at each (naive), recurrent weights, or units of the candidate",
        choices=tuple(RECURRENT_DROPOUT),
    )
    tie_weights: bool = cli.option(False, "use the embedding as the kernel of the head")
    init_scale: float = cli.option(
        0.0,
        "draw all parameters from U(-init_scale, init_scale); 0: each cell's own initialisation",
    )
    # the data
    data: str = cli.option(
        "stdlib", "stdlib, hf:NAME[/CONFIG], a path to text files, or a folder of shards"
    )
    validation_fraction: float = cli.option(
        0.05, "share of the text that is held out for validation"
    )
    test_fraction: float = cli.option(0.0, "share of the text held out for a final test")
    max_chars: int = cli.option(
        0, "number of characters to use, from the start of the text; 0 for all"
    )
    ngram_order: int = cli.option(
        5, "order of the n-gram baseline; 0 for no baseline", may_differ=True
    )
    # training
    seq_len: int = cli.option(100, "number of steps of truncated back-propagation through time")
    batch_size: int = cli.option(32, "number of rows that are read in parallel")
    optimizer: str = cli.option("adam", "the optimizer", choices=OPTIMIZERS)
    learning_rate: float = cli.option(
        6e-3, "learning rate; the highest one, where the schedule changes it"
    )
    schedule: str = cli.option(
        "cosine", "how the learning rate changes over the run", choices=SCHEDULES
    )
    warmup_steps: int = cli.option(
        100, "number of updates over which the learning rate rises from 0"
    )
    decay_after: int = cli.option(10, "number of epochs at the full rate, for --schedule=step")
    decay_factor: float = cli.option(
        0.97, "factor on the rate at every later epoch, for --schedule=step"
    )
    weight_decay: float = cli.option(0.0, "weight decay, for --optimizer=adamw")
    clip_norm: float = cli.option(
        5.0, "norm to which a larger gradient is scaled down; 0 for no clipping"
    )
    clip_value: float = cli.option(0.0, "largest absolute entry of the gradient; 0 for no clipping")
    nonfinite: str = cli.option(
        "skip",
        "what to do with an update whose loss or gradient is not finite",
        choices=("skip", "stop"),
    )
    spike_factor: float = cli.option(
        0.0,
        "go back to the best state when the loss is this many times its validation loss; 0: never",
    )
    steps: int = cli.option(
        0, f"number of updates; 0: as --epochs says, or {DEFAULT_STEPS}", may_differ=True
    )
    epochs: int = cli.option(
        0, "number of passes over the training text, in the place of --steps", may_differ=True
    )
    devices: int = devices_option()
    seed: int = cli.option(0, "seed of the parameters, the dropout masks and the samples")
    # files and reports
    log_to: str = cli.log_to_option()
    workdir: str = cli.workdir_option("char_lm")
    resume: bool = cli.resume_option()
    eval_every: int = cli.option(
        500, "number of updates between validations, each followed by a save", may_differ=True
    )
    save_every: int = cli.option(
        0, "number of updates between further saves; 0 for none", may_differ=True
    )
    save_seconds: float = cli.option(
        300.0, "longest time between saves, in seconds; 0 for no limit", may_differ=True
    )
    sample_every: int = cli.option(
        500, "number of updates between samples; 0 for none on the way", may_differ=True
    )
    # sampling
    sample_only: bool = cli.option(
        False, "train nothing; generate from --checkpoint", may_differ=True
    )
    checkpoint: str = cli.option(
        "", "for --sample_only: a workdir, or a checkpoint in it", may_differ=True
    )
    prime: str = cli.option(
        "",
        "text to begin with; if empty, a line break, and def for the standard library",
        may_differ=True,
    )
    temperature: float = cli.option(
        0.8, "temperature of sampling; 0 takes the most probable character", may_differ=True
    )
    top_k: int = cli.option(
        0, "sample among the k most probable characters only; 0 for all", may_differ=True
    )
    top_p: float = cli.option(
        1.0,
        "sample among the fewest most probable characters that have this probability together",
        may_differ=True,
    )
    repetition_penalty: float = cli.option(
        1.0, "what the logits of characters that were there before are divided by", may_differ=True
    )
    beam: int = cli.option(
        0,
        "for --sample_only: no sample, but the most probable text that a beam of this width finds",
        may_differ=True,
    )
    length: int = cli.option(500, "number of characters in a sample", may_differ=True)

    def __post_init__(self) -> None:
        check_config(self)
        for name in ("length", "eval_every"):
            check_positive(f"--{name}", getattr(self, name))
        counts = ("steps", "epochs", "sample_every", "ngram_order", "top_k", "decay_after")
        for name in (*counts, "save_every", "temperature"):
            check_not_negative(f"--{name}", getattr(self, name))
        check_rate("--learning_rate", self.learning_rate)
        if self.steps and self.epochs:
            raise InputError("give --steps or --epochs, not both.")
        if self.schedule != "step":
            where = f"with --schedule={self.schedule}"
            cli.refuse_unused(self, ("decay_after", "decay_factor"), where)
        if self.sample_only != bool(self.checkpoint):
            raise InputError("--sample_only and --checkpoint=PATH go together.")
        if self.sample_only:
            fields = [field.name for field in dataclasses.fields(self)]
            unused = [name for name in fields if name not in OF_SAMPLING]
            cli.refuse_unused(self, unused, "with --sample_only")
        check_positive("--beam", self.beam or 1, at_most=1000)
        if self.beam and not self.sample_only:
            raise InputError(f"--beam={self.beam} needs --sample_only and --checkpoint=PATH.")
        if self.beam:
            drawing = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")
            cli.refuse_unused(self, drawing, "with --beam, which draws nothing")
        if not 0 < self.top_p <= 1:
            raise InputError(f"--top_p must lie above 0 and at most be 1, got {self.top_p}.")
        if not 0 < self.repetition_penalty < math.inf:
            raise InputError(
                f"--repetition_penalty must be a number above 0, got {self.repetition_penalty}."
            )
