"""The gallery of a run: one page with test questions and answers, and a box in which one asks the network."""

import base64
import io
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from experiments.common.images import as_floats
from experiments.common.page import CELLS, packed, page
from experiments.common.words import UNKNOWN, places
from experiments.vqa.config import Config
from experiments.vqa.questions import Asked, Questions
from seqjax.models import QuestionAnswerer
from seqjax.tasks.scenes import Scene

HERE = Path(__file__).parent
CARDS = 48


def gallery(
    config: Config,
    questions: Questions,
    model: QuestionAnswerer,
    shares: np.ndarray,
    *,
    about: str,
) -> str:
    """The page.

    Args:
      config: of the run.
      questions: with their test split, whose first ones are shown.
      model: with the parameters that are asked.
      shares: `[N, C]`, the probability of each answer to each test question.
      about: a sentence for the top.
    """
    test = questions.test
    images = test.examples.inputs["image"][:CARDS]
    cards = []
    for place, image in enumerate(images):
        best, label = int(shares[place].argmax()), int(test.examples.labels[place])
        card = {
            "place": place,
            "image": _png(image),
            "about": _described(test, place),
            "question": test.words[place],
            "given": questions.answers[best],
            "share": float(shares[place, best]),
            "answer": questions.answers[label],
            "right": best == label,
        }
        cards.append(card)
    data: dict[str, Any] = {"about": about, "cards": cards}
    if config.cell in CELLS and config.connections == "plain":
        data["network"] = network_data(config, questions, model, images)
    return page(HERE, "gallery", data, scripts=["cells"])


def network_data(
    config: Config, questions: Questions, model: QuestionAnswerer, images: np.ndarray
) -> dict[str, Any]:
    """What the page computes with: the parameters, and what the network sees of each image."""

    def dense(layer: nnx.Linear) -> list[dict[str, Any]]:
        bias: Any = layer.bias
        return [packed(layer.kernel.get_value()), packed(bias.get_value())]

    return {
        "cell": config.cell,
        "fusion": model.fusion,
        "tokens": questions.tokens,
        "unknown": places(questions.tokens).get(UNKNOWN, 0),
        "answers": questions.answers,
        "embedding": packed(model.embedding.embedding.get_value()),
        "layers": [
            {name: packed(array) for name, array in layer.arrays().items()}
            for layer in model.stack.layers
        ],
        "query": dense(model.query),
        "hidden": dense(model.hidden),
        "head": dense(model.head),
        "seen": packed(model.see(as_floats(jnp.asarray(images)))),
    }


def _described(test: Asked, place: int) -> str:
    """What a scene holds, in words; a picture that is not drawn here has none."""
    if not test.scenes:
        return "The image that is asked about"
    scene: Scene = test.scenes[place]
    return "Image: " + ", ".join(f"a {t.size} {t.colour} {t.shape}" for t in scene)


def _png(pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
