"""The gallery of a run: one page with test images, what the network says of them, and what people said."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.caption.images import Images
from experiments.caption.scores import scores_of
from experiments.common.page import page
from seqjax.errors import InputError
from seqjax.files.arrays import read_arrays
from seqjax.files.text import read_text
from seqjax.tasks.scenes import caption_distribution

HERE = Path(__file__).parent
CARDS = 60
LARGEST = 1 << 28  # bytes
TYPES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}


def gallery(
    images: Images,
    captions: list[str],
    log_probs: np.ndarray,
    *,
    about: str,
    pictures: dict[str, bytes],
    names: list[str],
    maps: np.ndarray | None = None,
) -> str:
    """The page.

    Args:
      images: with its test split.
      captions: of the test images, in their order.
      log_probs: of each caption.
      about: a sentence for the top.
      pictures: JPEG or PNG files by name, for images that are given by features.
      names: of the test images; [] for pixels.
      maps: `[N, T, S]`, what attention read for each word; None for none.
    """
    test = images.test
    chosen = [i for i in range(len(captions)) if not names or names[i] in pictures][:CARDS]
    nearest = _nearest(images, chosen)
    scored = []
    for i in chosen:
        if test.scenes:
            true = caption_distribution(test.scenes[i])
            said = [max(true, key=lambda c: true[c])]
            right, verdict = captions[i] in true, "true" if captions[i] in true else "not true"
            score = float(right)
        else:
            said = test.captions[i]
            score = scores_of([said], [captions[i]])["bleu2"]
            verdict = f"BLEU-2 {score:.0f}"
        scored.append((said, score, verdict))
    middle = 0.5 if test.scenes else float(np.median([score for _, score, _ in scored] or [0]))
    cards: list[dict[str, Any]] = []
    for i, near, (said, score, verdict) in zip(chosen, nearest, scored, strict=True):
        data = pictures[names[i]] if names else _png(test.images[i])
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
        kind = next((t for start, t in TYPES.items() if data.startswith(start)), "")
        if not kind:
            raise InputError(f"the picture of {names[i]} is neither JPEG nor PNG.")
        card = {
            "image": f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
            "width": width,
            "height": height,
            "caption": captions[i],
            "log_prob": float(log_probs[i]),
            "said": said,
            "verdict": verdict,
            "right": score >= middle,
            "nearest": near,
        }
        if maps is not None:
            words = len(captions[i].split())
            card["maps"] = [[float(f"{w:.3g}") for w in row] for row in maps[i][:words]]
        cards.append(card)
    shown: dict[str, Any] = {"about": about, "cards": cards}
    if test.scenes:
        shown["verdicts"] = {"all": "all", "right": "true", "wrong": "not true"}
    return page(HERE, "gallery", shown)


def read_pictures(folder: str | Path) -> dict[str, bytes]:
    """Small pictures by name, of an .npz file with `data` and `offsets`, the largest ones that there are.

    The names of X_test.npz are in names_test.txt, of others in names.txt.

    Raises:
      InputError: if a file does not fit its names.
    """
    root = Path(folder).expanduser()
    found: dict[str, bytes] = {}
    for path in sorted(root.glob("jpeg*.npz"), key=lambda p: (p.stem.endswith("_test"), p.name)):
        listed = root / ("names_test.txt" if path.stem.endswith("_test") else "names.txt")
        names = read_text(listed, LARGEST).split()
        arrays = read_arrays(path, {"data": ("|u1", 1), "offsets": ("<i8", 1)})
        data, offsets = arrays["data"].tobytes(), arrays["offsets"].tolist()
        if len(offsets) != len(names) + 1 or offsets != sorted(offsets) or offsets[-1] > len(data):
            raise InputError(f"{path} does not hold one picture for each name of {listed}.")
        for name, start, end in zip(names, offsets[:-1], offsets[1:], strict=True):
            found[name] = data[start:end]
    return found


def _nearest(images: Images, chosen: list[int]) -> list[str]:
    """A caption of the most similar training image of each; "" for scenes, which are all alike."""
    if images.test.scenes:
        return [""] * len(chosen)
    flat = [split.images.reshape(len(split.images), -1) for split in (images.train, images.test)]
    unit = [f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-9) for f in flat]
    places = (unit[1][chosen] @ unit[0].T).argmax(1)
    return [images.train.captions[i][0] for i in places]


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
