"""Images and their captions, as arrays."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from experiments.caption.config import Config
from experiments.common.images import LARGEST_PIXEL
from experiments.common.words import UNKNOWN, places
from seqjax.data.orders import padded
from seqjax.data.sets.captions import CaptionedSplits, load_captions
from seqjax.tasks.scenes import Scene, draw_captions, draw_scenes, render
from seqjax.training.labelling import Labelled

PAD, START, END, UNK = range(4)
HELD_OUT = 1000  # scenes in validation and in test


class Split(NamedTuple):
    """A split: its images, and an example for each caption."""

    images: np.ndarray  # [N, ...]; bytes where they are pixels
    captions: list[list[str]]  # of each image
    image_of: np.ndarray  # [M] the image of each caption
    # Inputs: "image" [M, ...] and "tokens" [M, T]; labels [M, T]. Of training scenes [N, ...] and [N, T, K]: the K
    # captions of an image stand together, so that the image is looked at once for all of them.
    examples: Labelled
    scenes: list[Scene]  # [] where there are none
    names: list[str]  # of the images; [] where they have none


class Images(NamedTuple):
    name: str
    words: list[str]  # a word's id is its place
    train: Split
    validation: Split
    test: Split

    def pixels(self) -> bool:
        """Whether images are pixels, of which features are still to be made."""
        return self.train.images.dtype == np.uint8

    def identity(self) -> dict[str, Any]:
        """What a saved network cannot be read without, and must have been trained on."""
        digest = hashlib.sha256()
        for split in self[2:]:
            digest.update(split.images.tobytes())
            digest.update(repr(split.captions).encode("utf-8", "surrogatepass"))
        shape = list(self.train.images.shape[1:])
        return {"images": digest.hexdigest(), "words": self.words, "shape": shape}

    def decode(self, row: np.ndarray) -> str:
        """The words of a row of ids, up to its end."""
        ids = row.tolist()
        return " ".join(self.words[i] for i in (ids[: ids.index(END)] if END in ids else ids))


def load_images(config: Config, *, grid: bool = False) -> Images:
    """The images that the config names; of a folder the pooled features, or a grid of them."""
    if config.data != "scenes":
        return _from_folder(config, grid=grid)
    sizes = (config.scenes, config.captions), (HELD_OUT, 1), (HELD_OUT, 1)
    drawn = [_draw(*size, [config.seed, number]) for number, size in enumerate(sizes)]
    words = _words((c for _, captions, _ in drawn for row in captions for c in row), 1)
    train, *held_out = (_split(config, words, *parts, []) for parts in drawn)
    return Images("scenes", words, _together(train, config.captions), *held_out)


def new_scenes(config: Config, words: list[str], epoch: int) -> Labelled:
    """Scenes and captions of an epoch, as many as the first; the training set itself in the first epoch."""
    key = [config.seed, 0] if epoch == 0 else [config.seed, 3, epoch]
    split = _split(config, words, *_draw(config.scenes, config.captions, key), [])
    return _together(split, config.captions).examples


def _together(split: Split, captions: int) -> Split:
    """The same, with all captions of an image in one example."""
    examples = split.examples

    def as_columns(rows: np.ndarray) -> np.ndarray:  # [N K, T] to [N, T, K]
        return rows.reshape(-1, captions, rows.shape[1]).swapaxes(1, 2)

    inputs = {"image": split.images, "tokens": as_columns(examples.inputs["tokens"])}
    longest = examples.lengths.reshape(-1, captions).max(1)
    return split._replace(examples=Labelled(inputs, longest, as_columns(examples.labels)))


def _draw(
    count: int, captions: int, key: list[int]
) -> tuple[np.ndarray, list[list[str]], list[Scene]]:
    random = np.random.default_rng(key)
    scenes = draw_scenes(random, count)
    pixels = np.round(LARGEST_PIXEL * render(random, scenes)).astype(np.uint8)
    said = [draw_captions(random, scene, captions) for scene in scenes]
    return pixels, said, scenes


def _from_folder(config: Config, *, grid: bool) -> Images:
    kind = "grid" if grid else "features"
    splits: CaptionedSplits = load_captions(config.data, config.features, kind=kind)
    features = splits.train.features
    axes = tuple(range(features.ndim - 1))
    mean, deviation = features.mean(axes), features.std(axes) + 1e-6
    words = _words((c for row in splits.train.captions for c in row), config.min_count)
    made = [
        _split(config, words, (split.features - mean) / deviation, split.captions, [], split.names)
        for split in splits
    ]
    return Images("captions", words, *made)


def _words(captions: Any, min_count: int) -> list[str]:
    counts: dict[str, int] = {}
    for caption in captions:
        for word in caption.split():
            counts[word] = counts.get(word, 0) + 1
    kept = sorted(word for word, count in counts.items() if count >= min_count)
    return ["<pad>", "<s>", "</s>", UNKNOWN, *kept]


def _split(
    config: Config,
    words: list[str],
    images: np.ndarray,
    captions: list[list[str]],
    scenes: list[Scene],
    names: list[str],
) -> Split:
    table = places(words)
    rows, image_of = [], []
    for number, said in enumerate(captions):
        for caption in said:
            ids = [table.get(word, UNK) for word in caption.split()[: config.max_length]]
            rows.append(np.array([START, *ids, END], np.int32))
            image_of.append(number)
    lengths = np.array([len(row) - 1 for row in rows], np.int32)
    tokens = padded(rows)
    wide = np.zeros((len(rows), config.max_length + 2), np.int32)
    wide[:, : tokens.shape[1]] = tokens
    of = np.array(image_of)
    inputs = {"image": images[of], "tokens": np.where(wide[:, :-1] == END, PAD, wide[:, :-1])}
    return Split(images, captions, of, Labelled(inputs, lengths, wide[:, 1:]), scenes, names)
