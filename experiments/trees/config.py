"""The flags of the tree program."""

import dataclasses
from typing import NamedTuple

from experiments.common import cli
from seqjax.errors import (
    InputError,
    check_fraction,
    check_not_negative,
    check_positive,
    check_rate,
)
from seqjax.tasks.formulas import DEEPEST, LANGUAGES
from seqjax.tree_cells import TREE_CELLS


class Defaults(NamedTuple):
    """What a flag of 0 means."""

    hidden_size: int
    embedding_size: int
    batch_size: int
    epochs: int
    learning_rate: float


OF_FORMULAS = Defaults(128, 128, 32, 20, 3e-3)  # epochs: of ListOps
OF_A_TREEBANK = Defaults(150, 50, 25, 8, 0.05)  # Tai et al. (2015), but for the size of the vectors


@dataclasses.dataclass(frozen=True)
class Config:
    cell: str = cli.option("tree_lstm", "what composes children", choices=tuple(TREE_CELLS))
    hidden_size: int = cli.option(0, "number of units; 0: 128 for formulas, 150 for a treebank")
    batch_size: int = cli.option(0, "number of trees in a batch; 0: 32, or 25 for a treebank")
    epochs: int = cli.option(
        0, "passes over the trees; 0: 4 for boolean, 20 for ListOps, 8 for a treebank"
    )
    learning_rate: float = cli.option(
        0.0, "of Adam for formulas; 0: 0.003, or 0.05 of AdaGrad for a treebank"
    )
    wave: int = cli.option(32, "largest number of nodes that are evaluated at once")
    # formulas
    tasks: str = cli.option("boolean,listops", "languages of formulas, separated by commas")
    depth: int = cli.option(4, "greatest depth of the formulas in training")
    test_depth: int = cli.option(10, "greatest depth in the test, at least twice --depth")
    formulas: int = cli.option(8000, "number of formulas to train on")
    # a treebank
    data: str = cli.option("", "directory of a treebank; formulas if empty")
    classes: int = cli.option(5, "5; or 2, without neutral trees and nodes, for --data")
    vectors: str = cli.option("", "word vectors to begin with, for --data: GloVe's text, or npz")
    embedding_size: int = cli.option(
        0, "size of the words' vectors, for --data without --vectors; 0: 50"
    )
    vector_rate: float = cli.option(
        0.1, "learning rate of the words' vectors, for --data; 0: they stay as they are"
    )
    min_count: int = cli.option(
        2, "occurrences in training from which a word has a vector of its own, for --data"
    )
    input_dropout: float = cli.option(0.0, "share of the vectors' entries dropped, for --data")
    dropout: float = cli.option(0.5, "share dropped of what the classifier reads, for --data")
    l2: float = cli.option(1e-4, "weight of half the squared parameters, for --data")
    predict: str = cli.option(
        "", "train nothing; label this tree in brackets, by --checkpoint", may_differ=True
    )
    checkpoint: str = cli.option("", "the run whose network labels it", may_differ=True)
    # runs
    seeds: int = cli.option(1, "number of networks of each kind, from different seeds")
    seed: int = cli.option(0, "the first seed")
    nonfinite: str = cli.option(
        "skip",
        "what to do with an update whose loss or gradient is not finite",
        choices=("skip", "stop"),
    )
    save_seconds: float = cli.option(
        300.0, "longest time between saves, in seconds; 0: after epochs only", may_differ=True
    )
    workdir: str = cli.workdir_option("trees")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        for name in ("wave", "depth", "test_depth", "formulas", "min_count", "seeds"):
            check_positive(f"--{name}", getattr(self, name))
        check_positive("--seeds", self.seeds, at_most=1000)
        cli.check_seed(self.seed, self.seeds)
        for name in ("hidden_size", "batch_size", "epochs", "embedding_size", "learning_rate"):
            check_not_negative(f"--{name}", getattr(self, name))
        for name in ("vector_rate", "l2", "save_seconds"):
            check_not_negative(f"--{name}", getattr(self, name))
        for name in ("dropout", "input_dropout"):
            check_fraction(f"--{name}", getattr(self, name))
        cli.chosen("--tasks", self.tasks, LANGUAGES)
        if self.classes not in (2, 5):
            raise InputError(f"--classes must be 5 or 2, got {self.classes}.")
        if not 2 * self.depth <= self.test_depth <= DEEPEST:
            raise InputError(
                f"--test_depth must lie between twice --depth and {DEEPEST}, got {self.test_depth}."
            )
        if bool(self.predict) != bool(self.checkpoint):
            raise InputError("--predict=TREE and --checkpoint=PATH go together.")
        self._refuse_what_does_nothing()
        resolved = self.resolved()
        check_rate("--learning_rate", resolved.learning_rate)
        check_positive("--hidden_size", resolved.hidden_size, at_most=2**14)
        if not self.data and self.formulas < resolved.batch_size:
            raise InputError(
                f"--formulas must be at least the --batch_size of {resolved.batch_size}, got"
                f" {self.formulas}."
            )

    def _refuse_what_does_nothing(self) -> None:
        """Flags of treebanks without one, and flags of formulas with one."""
        of_vectors = ("vectors", "embedding_size", "vector_rate", "min_count")
        of_data = ("classes", *of_vectors, "input_dropout", "dropout", "l2")
        of_formulas = ("tasks", "depth", "test_depth", "formulas")
        where = "with --data" if self.data else "without --data"
        cli.refuse_unused(self, of_formulas if self.data else of_data, where)
        if self.vectors and self.embedding_size:
            raise InputError("give --vectors or --embedding_size, not both.")

    def resolved(self) -> Defaults:
        """The values of the flags whose 0 means a default."""
        defaults = OF_A_TREEBANK if self.data else OF_FORMULAS
        return Defaults(
            *(getattr(self, name, 0) or value for name, value in defaults._asdict().items())
        )
