"""easy-VQA (Zhou, 2019): questions about one shape on a background, read from the wheel that PyPI has."""

import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from seqjax.errors import InputError
from seqjax.files.text import read_bytes

LARGEST = 1 << 28  # bytes of the wheel
LARGEST_MEMBER = 1 << 24  # bytes of a file in it
SIDE = 64


class AskedSplit(NamedTuple):
    """Images and questions about them."""

    images: np.ndarray  # [N, 64, 64, 3] uint8
    questions: list[tuple[str, str, int]]  # the question, its answer, and the place of its image


def load_easy_vqa(path: str | Path) -> tuple[AskedSplit, AskedSplit]:
    """The training and test splits of a wheel `easy_vqa-1.0-py3-none-any.whl`, or of a folder that holds it.

    Raises:
      InputError: if it is no such wheel.
    """
    wheel = Path(path).expanduser()
    if wheel.is_dir():
        found = sorted(wheel.glob("easy_vqa-*.whl"))
        if not found:
            raise InputError(
                f"{wheel} has no wheel easy_vqa-*.whl: `pip download easy-vqa` gets it."
            )
        wheel = found[0]
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(wheel, LARGEST))) as archive:
            train, test = (_split(archive, name) for name in ("train", "test"))
            return train, test
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{wheel} is no wheel of easy-VQA: {error}.") from error


def _split(archive: zipfile.ZipFile, name: str) -> AskedSplit:
    inside = [n for n in archive.namelist() if f"/{name}/" in n]
    listed = next(n for n in [*inside, ""] if n.endswith("questions.json") or not n)
    rows = json.loads(_read(archive, listed))
    pictures = {Path(n).stem: n for n in inside if n.endswith(".png")}
    numbers = sorted({int(row[2]) for row in rows})
    place = {number: i for i, number in enumerate(numbers)}
    images = np.empty((len(numbers), SIDE, SIDE, 3), np.uint8)
    for number, i in place.items():
        with Image.open(io.BytesIO(_read(archive, pictures[str(number)]))) as picture:
            if picture.size != (SIDE, SIDE):
                raise InputError(f"{pictures[str(number)]} has {picture.size} pixels, not 64 x 64.")
            images[i] = np.asarray(picture.convert("RGB"))
    questions = [(str(q), str(a), place[int(number)]) for q, a, number in rows]
    return AskedSplit(images, questions)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST_MEMBER:
        raise InputError(f"{name} in the wheel has more than {LARGEST_MEMBER:,} bytes.")
    return archive.read(name)
