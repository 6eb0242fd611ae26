"""Images with labels in the IDX format of MNIST (LeCun, Cortes and Burges, 1998)."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError
from seqjax.files.text import read_bytes

LARGEST = 1 << 28  # bytes of a file


class Images(NamedTuple):
    pixels: np.ndarray  # [N, height, width] uint8
    labels: np.ndarray  # [N] int32


class ImageSplits(NamedTuple):
    train: Images
    test: Images


def load_idx(folder: str | Path) -> ImageSplits:
    """Reads MNIST, or a set in its format, as its four files are named, plain or `.gz`.

    Args:
      folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte.

    Raises:
      InputError: if a file is missing or is not of that format, or images and labels differ in number.
    """
    folder = Path(folder).expanduser()
    splits = []
    for start in ("train", "t10k"):
        images = read_idx(_find(folder, f"{start}-images-idx3-ubyte"), axes=3)
        labels = read_idx(_find(folder, f"{start}-labels-idx1-ubyte"), axes=1)
        if len(images) != len(labels):
            raise InputError(
                f"{folder} has {len(images)} images but {len(labels)} labels that begin with {start}."
            )
        splits.append(Images(images, labels.astype(np.int32)))
    return ImageSplits(*splits)


def read_idx(path: Path, *, axes: int) -> np.ndarray:
    """An array of bytes: two zeros, 8 for bytes, the number of axes, each axis in 4 bytes, the array.

    Raises:
      InputError: if the file is not of that form, or its size is not what it says.
    """
    data = read_bytes(path, LARGEST)
    head = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < head:
        raise InputError(f"{path} is no IDX file of bytes with {axes} axes.")
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, head, 4)]
    if math.prod(shape) != len(data) - head:
        raise InputError(
            f"{path} says that it holds an array {shape}, but has {len(data) - head} bytes after that."
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{folder} holds neither {name} nor {name}.gz.")
