"""Images with captions: features of a pretrained network, and what several people said of each image.

Captions are as Flickr8k has them (Hodosh et al., 2013): a text file with NAME#NUMBER, a tab and a caption in
each line, and text files of names that say train, dev (val, valid) or test. Features stand in a folder beside
them: names.txt, a name in each line, and in the same order an .npz file with an array `features` [N, F], or
`grid` [N, S, F] of S places. For your own images, run any network over them and write

    np.savez("features.npz", features=array)  # float32; or uint8 or int8, with an array `scale` beside

"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.data.text import SPLIT_WORDS
from seqjax.errors import InputError, shown
from seqjax.files.arrays import read_arrays
from seqjax.files.text import lines_of, read_text

LARGEST = 1 << 28  # bytes of a text file
KINDS = ("features", "grid")


class Captioned(NamedTuple):
    """The images of a split."""

    names: list[str]
    features: np.ndarray  # [N, F] or [N, S, F] float32
    captions: list[list[str]]  # of each image


class CaptionedSplits(NamedTuple):
    train: Captioned
    validation: Captioned
    test: Captioned


def load_captions(captions: str | Path, features: str | Path, *, kind: str) -> CaptionedSplits:
    """Reads images of three splits.

    Args:
      captions: the folder of captions and of lists of names.
      features: the folder of names.txt and .npz files.
      kind: "features" or "grid", the array that is read.

    Raises:
      InputError: if a file is missing, a line is no caption, or an image has no features or no caption.
    """
    folder = _folder(captions)
    said: dict[str, list[str]] = {}
    lists: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        words = re.split(r"[^a-z]+", re.sub(r"([A-Z])", r" \1", path.name).lower())
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")
        if split and path.is_file():
            lists[split] = read_text(path, LARGEST).split()
        elif path.is_file() and ".token" in path.name:
            said = read_captions(path)
    missing = [s for s in CaptionedSplits._fields if s not in lists]
    if missing or not said:
        wanted = "a file of captions (NAME.token.txt)" if not said else f"a list of {missing[0]}"
        raise InputError(f"{folder} has no {wanted} images.")
    names, values = read_features(features, kind)
    place = {name: number for number, name in enumerate(names)}
    splits = []
    for split in CaptionedSplits._fields:
        for name in lists[split]:
            if name not in place:
                raise InputError(f"the {split} image {shown(name)} has no features in {features}.")
            if name not in said:
                raise InputError(f"the {split} image {shown(name)} has no caption in {folder}.")
        rows = values[[place[name] for name in lists[split]]]
        splits.append(Captioned(lists[split], rows, [said[name] for name in lists[split]]))
    return CaptionedSplits(*splits)


def read_captions(path: Path) -> dict[str, list[str]]:
    """The captions of each image of a file, in lower case, words and numbers alone."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines_of(read_text(path, LARGEST)), 1):
        key, tab, caption = line.partition("\t")
        name, mark, _ = key.rpartition("#")
        words = re.findall(r"[a-z0-9']+", caption.lower())
        if not tab or not mark or not name:
            raise InputError(
                f"{path}, line {number}: write NAME#NUMBER, a tab and a caption, got {shown(line)}."
            )
        if words:
            found.setdefault(name, []).append(" ".join(words))
    return found


def read_features(folder: str | Path, kind: str) -> tuple[list[str], np.ndarray]:
    """The names of a folder's images and their features, float32.

    Raises:
      InputError: if there are none, or not as many as names.
    """
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    root = _folder(folder)
    names = read_text(root / "names.txt", LARGEST).split()
    axes = 2 if kind == "features" else 3
    for path in sorted(root.glob("*.npz")):
        for dtype in ("<f4", "|u1", "|i1"):
            scale = {} if dtype == "<f4" else {"scale": ("<f4", axes - 2)}
            try:
                found = read_arrays(path, {kind: (dtype, axes), **scale})
            except InputError:
                continue
            values = found[kind].astype(np.float32) * found.get("scale", np.float32(1))
            if len(values) != len(names):
                raise InputError(
                    f"{path} has features of {len(values):,} images, and {root / 'names.txt'}"
                    f" {len(names):,} names."
                )
            return names, values
    raise InputError(
        f"{root} has no .npz file with an array {kind!r} of float32, or of uint8 or int8 with a scale."
    )


def _folder(path: str | Path) -> Path:
    try:
        root = Path(path).expanduser()
        if root.is_dir() and str(path).strip():
            return root
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is no path: {error}.") from error
    raise InputError(f"there is no folder {shown(str(path))}.")
