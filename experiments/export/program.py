r"""A trained language model as StableHLO, ONNX, safetensors, or a page that writes as one types.

Claim: a model trained by char_lm or word_lm runs where seqjax is not: by JAX alone, by ONNX Runtime, from a folder
in the layout of Hugging Face, and in a browser by plain JavaScript, with the same text written.

    python -m experiments.export --checkpoint=RUN --format=html

takes seconds. Formats: `stablehlo`, one step for any batch size, for CPU, CUDA and TPU; `onnx`, a graph from
tokens and states to logits, for any number of steps and rows; `safetensors`, a folder with config.json,
model.safetensors and README.md, which `seqjax.interop.pretrained.from_pretrained` reads; `html`, one page. Each
comes with the vocabulary, and all but the page with a README.md that says how to run what was written.
"""

import dataclasses
from pathlib import Path
from typing import Any

from experiments.common import cli
from experiments.common.page import CELLS, packed, page
from seqjax.errors import InputError
from seqjax.files.json import write_json
from seqjax.files.writing import write_atomically, write_bytes
from seqjax.interop import export_token_step, language_model_to_onnx
from seqjax.interop.pretrained import save_pretrained
from seqjax.runs.workdir import open_workdir
from seqjax.training.saved_models import SavedLanguageModel, load_language_model

HERE = Path(__file__).parent
FORMATS = ("html", "onnx", "safetensors", "stablehlo")

STABLEHLO = """One step of a language model, for any batch size, as JAX's serialised StableHLO. With jax alone:

    import json, jax, jax.numpy as jnp
    run = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
    tokens = json.load(open("vocabulary.json"))
    leaves = tuple(jnp.zeros((1, *a.shape[1:]), a.dtype) for a in run.in_avals[:-1])
    token = jnp.array([tokens.index("T")], jnp.int32)
    leaves, logits = run.call(leaves, token)  # the logits of the next token, [1, V]
"""
ONNX = """A language model as an ONNX graph: tokens [T, B] and first states to logits [T, B, V] and last states.

    import json, numpy as np, onnxruntime
    session = onnxruntime.InferenceSession("model.onnx")
    tokens = json.load(open("vocabulary.json"))
    feeds = {i.name: np.zeros([n if isinstance(n, int) else 1 for n in i.shape], np.float32)
             for i in session.get_inputs() if i.name != "tokens"}
    text = np.array([[tokens.index(c)] for c in "The "])
    logits, *states = session.run(None, {"tokens": text, **feeds})
"""


@dataclasses.dataclass(frozen=True)
class Config:
    checkpoint: str = cli.option("", "the directory of a run of char_lm or word_lm")
    format: str = cli.option("html", "what to write", choices=FORMATS)
    workdir: str = cli.workdir_option("export")

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise InputError(
                "--checkpoint=RUN must name the directory of a run of char_lm or word_lm."
            )


def run(config: Config) -> Path:
    """Writes the model; returns the directory."""
    saved = load_language_model(config.checkpoint)
    with open_workdir(config.workdir, name="export", resume=False) as workdir:
        written = {"html": html, "onnx": onnx, "safetensors": safetensors, "stablehlo": stablehlo}
        path = written[config.format](saved, workdir)
        print(f"{path.stat().st_size / 2**20:.1f} MiB in {path}")
    return workdir


def stablehlo(saved: SavedLanguageModel, workdir: Path) -> Path:
    write_bytes(workdir / "model.stablehlo", export_token_step(saved.model))
    _describe(saved, workdir, STABLEHLO)
    return workdir / "model.stablehlo"


def onnx(saved: SavedLanguageModel, workdir: Path) -> Path:
    graph = language_model_to_onnx(saved.model, saved.cell)
    write_bytes(workdir / "model.onnx", graph.SerializeToString())
    _describe(saved, workdir, ONNX)
    return workdir / "model.onnx"


def safetensors(saved: SavedLanguageModel, workdir: Path) -> Path:
    save_pretrained(workdir, saved.model, saved.vocabulary, saved.cell)
    return workdir / "model.safetensors"


def html(saved: SavedLanguageModel, workdir: Path) -> Path:
    path = workdir / "writing.html"
    write_atomically(path, page(HERE, "writing", page_data(saved), scripts=["cells"]))
    return path


def page_data(saved: SavedLanguageModel) -> dict[str, Any]:
    """What the page computes with: the vocabulary, and every array as base64 of little-endian float32.

    Raises:
      InputError: if the page has no such cell or token.
    """
    model = saved.model
    if saved.cell not in CELLS or model.connections != "plain":
        raise InputError(
            f"the page has the cells {', '.join(CELLS)}, not {saved.cell}: choose another --format."
        )
    table = model.embedding.embedding.get_value()
    head = table.T if model.tie_weights else model.head.kernel.get_value()
    of_head: Any = model.head_bias if model.tie_weights else model.head.bias
    bias = of_head.get_value()
    return {
        "cell": saved.cell,
        "unit": saved.vocabulary.kind,
        "tokens": saved.vocabulary.tokens,
        "embedding": packed(table),
        "layers": [
            {name: packed(array) for name, array in layer.arrays().items()}
            for layer in model.layers
        ],
        "head": packed(head),
        "bias": packed(bias),
    }


def _describe(saved: SavedLanguageModel, workdir: Path, text: str) -> None:
    write_json(workdir / "vocabulary.json", saved.vocabulary.tokens)
    write_atomically(workdir / "README.md", f"# {saved.cell}, step {saved.step}\n\n{text}")
