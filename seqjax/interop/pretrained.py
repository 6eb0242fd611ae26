"""A language model as a folder in the layout of Hugging Face: config.json, model.safetensors, README.md."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.cells import CELLS
from seqjax.data import Vocabulary
from seqjax.errors import InputError, check_positive, shown
from seqjax.files.json import read_object, write_json
from seqjax.files.writing import write_atomically
from seqjax.interop.safetensors import read_safetensors, unflat, write_safetensors
from seqjax.models import LanguageModel

CARD = """---
library_name: seqjax
license: other
tags:
- jax
- {cell}
pipeline_tag: text-generation
---

# {cell}, {layers} x {hidden_size}

A recurrent language model of {kind}s.

    from seqjax.interop.pretrained import from_pretrained
    model, vocabulary, config = from_pretrained("PATH")

`config.json` has the sizes and the vocabulary, `model.safetensors` the parameters.
"""


class Pretrained(NamedTuple):
    model: LanguageModel
    vocabulary: Vocabulary
    config: dict[str, Any]


def save_pretrained(
    folder: str | Path, model: LanguageModel, vocabulary: Vocabulary, cell: str
) -> None:
    """Writes the three files.

    Args:
      folder: is there.
      model: of plain layers of one cell and size, as char_lm and word_lm train them.
      vocabulary: of its tokens.
      cell: the name in `CELLS` of the cell of its layers.
    """
    folder = Path(folder).expanduser()
    config = {
        "model_type": "seqjax_language_model",
        "cell": cell,
        "layers": len(model.layers),
        "hidden_size": model.layers[0].output_size,
        "embedding_size": model.embedding.features,
        "tie_weights": model.tie_weights,
        "unit": vocabulary.kind,
        "vocabulary": vocabulary.tokens,
    }
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    write_safetensors(folder / "model.safetensors", params, {"model_type": config["model_type"]})
    write_json(folder / "config.json", config)
    write_atomically(folder / "README.md", CARD.format(kind=vocabulary.kind, **config))


def from_pretrained(folder: str | Path) -> Pretrained:
    """Reads such a folder. Nothing in it is executed, and sizes are checked first.

    Raises:
      InputError: if a file is missing or not sound, or the arrays are not those that the config says.
    """
    folder = Path(folder).expanduser()
    config = read_object(folder / "config.json")
    cell, where = config.get("cell"), f"{folder / 'config.json'}"
    if not isinstance(cell, str) or cell not in CELLS:
        raise InputError(f"cell in {where} must be one of {', '.join(CELLS)}, got {shown(cell)}.")
    sizes = {
        name: check_positive(f"{name} in {where}", config.get(name), at_most=largest)
        for name, largest in (("layers", 64), ("hidden_size", 2**16), ("embedding_size", 2**16))
    }
    vocabulary = Vocabulary(config.get("unit", "char"), config.get("vocabulary", []))

    def make() -> LanguageModel:
        return LanguageModel(
            len(vocabulary),
            [CELLS[cell](sizes["hidden_size"])] * sizes["layers"],
            embedding_size=sizes["embedding_size"],
            tie_weights=config.get("tie_weights") is True,
            rngs=nnx.Rngs(0),
        )

    parts: Any = nnx.split(nnx.eval_shape(make), nnx.Param, ...)
    graphdef, like, others = parts
    arrays, _ = read_safetensors(folder / "model.safetensors")
    params = jax.tree.map(jnp.asarray, unflat(arrays, nnx.to_pure_dict(like)))
    others = jax.tree.map(_empty, nnx.to_pure_dict(others))
    return Pretrained(nnx.merge(graphdef, params, others), vocabulary, config)


def _empty(a: Any) -> Any:
    """A stand-in for the state of a random stream, which evaluation does not read."""
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    return jnp.zeros(a.shape, a.dtype)
