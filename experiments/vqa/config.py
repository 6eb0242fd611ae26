"""The flags of the program that answers questions."""

import dataclasses

from experiments.common import cli
from experiments.common.cells import cell_option
from experiments.common.labelling import NetworkConfig
from seqjax.errors import check_positive
from seqjax.models.question_answerer import FUSIONS

WAYS = (*FUSIONS, "blind")


@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    data: str = cli.option(
        "scenes", "scenes, or the wheel of easy-VQA, or a folder that holds the wheel"
    )
    questions: int = cli.option(
        20_000, "questions about scenes in an epoch, new ones in each; none for a wheel"
    )
    fusions: str = cli.option(
        "product,blind",
        f"how question and image are joined, some of {', '.join(WAYS)}; blind: images are exchanged",
    )
    cell: str = cell_option("gru")
    hidden_size: int = cli.option(128, "number of units of every layer")
    embedding_size: int = cli.option(32, "size of a word's vector")
    learning_rate: float = cli.option(1e-3, "learning rate")
    batch_size: int = cli.option(32, "number of questions in a batch")
    epochs: int = cli.option(
        18, "number of passes over the training questions; a quarter of them for blind"
    )
    workdir: str = cli.workdir_option("vqa")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        cli.chosen("--fusions", self.fusions, WAYS)
        check_positive("--questions", self.questions, at_most=10**6)
        check_positive("--embedding_size", self.embedding_size, at_most=2**16)
        if self.data != "scenes":
            cli.refuse_unused(self, ("questions",), f"with --data={self.data}")
