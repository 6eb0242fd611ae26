"""Models of earlier runs, read from their checkpoints with nothing but the path."""

from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from seqjax.cells import CELLS
from seqjax.data.vocabulary import Vocabulary
from seqjax.errors import InputError, check_positive, shown
from seqjax.models.language_model import LanguageModel
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training.modules import split_model


class SavedLanguageModel(NamedTuple):
    """A trained language model and what it was trained as."""

    model: LanguageModel
    vocabulary: Vocabulary
    cell: str  # of its layers, a key of CELLS
    config: dict[str, Any]  # of the run; whatever it says was written by somebody
    step: int  # updates it was trained for
    directory: Path  # of the run


def load_language_model(path: str | Path) -> SavedLanguageModel:
    """The best model of a run of char_lm or word_lm; the newest if none is best.

    Nothing in the files is executed, and sizes are checked before anything of that size is made.

    Args:
      path: the directory of the run, or one of checkpoints in it.

    Raises:
      InputError: if there is no checkpoint, or not one of a language model.
      RunError: if it is damaged.
    """
    directory = _find(path)
    checkpoints = Checkpoints(directory)
    record, step = checkpoints.read_record(), checkpoints.newest()
    config, where = record.get("config"), f"the checkpoint in {directory}"
    if not isinstance(config, dict) or "vocabulary" not in record:
        raise InputError(f"{where} holds no config and vocabulary: it is of no language model.")
    vocabulary = Vocabulary(record.get("unit", "char"), record["vocabulary"])
    cell, sizes = _description(config, where)
    abstract = nnx.eval_shape(
        lambda: LanguageModel(
            len(vocabulary),
            [CELLS[cell](sizes["hidden_size"])] * sizes["layers"],
            embedding_size=sizes["hidden_size"],
            tie_weights=config.get("tie_weights", False) is True,
            rngs=nnx.Rngs(0),
        )
    )
    split = split_model(abstract)
    model = nnx.merge(split.graphdef, checkpoints.restore_params(split.params))
    checkpoints.close()
    inside = directory.parent.name == "checkpoints"
    run = directory.parent.parent if inside else directory
    return SavedLanguageModel(model, vocabulary, cell, config, step, run)


def _description(config: dict[str, Any], where: str) -> tuple[str, dict[str, int]]:
    """The cell's name, and the sizes: those of a config of a program, or of a stranger."""
    cell = config.get("cell", "lstm")  # word_lm had no other before 0.2
    if not isinstance(cell, str) or cell not in CELLS:
        raise InputError(f"cell in {where} must be one of {', '.join(CELLS)}, got {shown(cell)}.")
    sizes = {}
    for name, largest in (("layers", 64), ("hidden_size", 2**16)):
        sizes[name] = check_positive(f"{name} in {where}", config.get(name), at_most=largest)
    return cell, sizes


def _find(path: str | Path) -> Path:
    """The directory of checkpoints that a path means."""
    try:
        root = Path(path).expanduser()
        candidates = [root / "checkpoints" / "best", root / "checkpoints" / "last"]
        candidates += [root / "best", root / "last", root]
        return next((p for p in candidates if Checkpoints(p).exists()), root)
    except (OSError, RuntimeError, ValueError) as error:  # too long, nobody's home, a zero byte
        raise InputError(f"checkpoint={path} is no path: {error}.") from error
