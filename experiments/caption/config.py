"""The flags of the captioner."""

import dataclasses

from experiments.common import cli
from experiments.common.cells import cell_option
from experiments.common.labelling import NetworkConfig
from seqjax.decode.beam import LENGTH_PENALTIES
from seqjax.errors import InputError, check_positive
from seqjax.models.captioner import ENTRIES

WAYS = (*ENTRIES, "blind")


@dataclasses.dataclass(frozen=True)
class Config(NetworkConfig):
    data: str = cli.option(
        "scenes", "scenes, or a folder of captions and of lists of names, as Flickr8k's"
    )
    features: str = cli.option("", "for a folder: another one with names.txt and .npz files")
    scenes: int = cli.option(
        10_000, "number of scenes of an epoch, new ones in each; none for a folder"
    )
    captions: int = cli.option(4, "number of captions of each scene; none for a folder")
    entries: str = cli.option(
        "step,blind",
        f"how the image enters, some of {', '.join(WAYS)}; blind: images are exchanged at random",
    )
    cell: str = cell_option()
    hidden_size: int = cli.option(128, "number of units of each layer")
    embedding_size: int = cli.option(256, "size of a word's vector, and of the projected image")
    min_count: int = cli.option(5, "how often a word must occur in training, for a folder")
    max_length: int = cli.option(20, "the most words of a caption")
    tie_weights: bool = cli.option(False, "whether the embedding is the output's kernel")
    teacher_forcing: float = cli.option(
        1.0, "probability that the decoder reads the true word in training, and not its own"
    )
    learning_rate: float = cli.option(2e-3, "learning rate")
    batch_size: int = cli.option(16, "number of scenes, or of captions of a folder, in a batch")
    epochs: int = cli.option(
        16, "number of passes over the training captions; a quarter of them for blind"
    )
    beam: int = cli.option(3, "width of the beam search that is tested")
    length_penalty: str = cli.option(
        "average",
        "what a log-probability is divided by, to rank captions",
        choices=LENGTH_PENALTIES,
    )
    workdir: str = cli.workdir_option("caption")
    resume: bool = cli.resume_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        cli.chosen("--entries", self.entries, WAYS)
        for name in ("scenes", "captions", "embedding_size", "min_count", "max_length", "beam"):
            check_positive(f"--{name}", getattr(self, name))
        check_positive("--scenes", self.scenes, at_most=10**6)
        if not 0 <= self.teacher_forcing <= 1:
            raise InputError(f"--teacher_forcing must lie in [0, 1], got {self.teacher_forcing}.")
        check_positive("--captions", self.captions, at_most=100)
        check_positive("--embedding_size", self.embedding_size, at_most=2**16)
        check_positive("--max_length", self.max_length, at_most=1000)
        check_positive("--beam", self.beam, at_most=1000)
        if self.data == "scenes" and self.features:
            raise InputError("--features is for a folder of captions, --data=PATH.")
        if self.data != "scenes":
            if not self.features:
                raise InputError(
                    "--data=PATH needs --features=PATH, the folder of the images' features."
                )
            cli.refuse_unused(self, ("scenes", "captions"), f"with --data={self.data}")
        else:
            cli.refuse_unused(self, ("min_count",), "with --data=scenes")
