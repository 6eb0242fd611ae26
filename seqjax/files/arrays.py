"""Data sets on disk: which files there are, and the arrays in them, checked before they are read."""

import io
import itertools
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.files.text import read_bytes

MOST_FILES = 1_000_000
LARGEST_TEXT = 1 << 20  # bytes
LARGEST_ARCHIVE = 1 << 30  # bytes, packed
LARGEST_ARRAY = 4 << 30  # bytes, unpacked


def files_below(directory: str | Path) -> list[Path]:
    """Every file below a directory, sorted; raises InputError if it is no directory."""
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise InputError(f"there is no directory {root}.")
    found = (path for path in root.rglob("*") if path.is_file())
    files = sorted(itertools.islice(found, MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise InputError(f"{root} has more than {MOST_FILES:,} files.")
    return files


def read_arrays(
    path: Path,
    wanted: Mapping[str, tuple[str | tuple[str, ...], int]],
    *,
    largest_archive: int = LARGEST_ARCHIVE,
    largest_array: int = LARGEST_ARRAY,
) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file; no byte of it is unpacked before its header has been checked.

    Args:
      path: the file.
      wanted: name -> (dtype, or several that it may have, and number of axes), as in
        `{"lengths": ("<i4", 1)}`.
      largest_archive: most bytes of the file.
      largest_array: most bytes of an array.

    Raises:
      InputError: if the file is none, or lacks an array, or one is of another kind.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path, largest_archive))) as archive:
            return {
                name: _read(archive, path, name, *kind, largest_array)
                for name, kind in wanted.items()
            }
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,  # of zipfile, of a password or of a flag that it does not know
        ValueError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no sound .npz file: {error}.") from error


def _read(
    archive: zipfile.ZipFile,
    path: Path,
    name: str,
    dtypes: str | tuple[str, ...],
    axes: int,
    largest: int,
) -> np.ndarray:
    kinds = [np.dtype(kind) for kind in ((dtypes,) if isinstance(dtypes, str) else dtypes)]
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise InputError(f"{path} lacks the array {shown(name)}.") from error
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: {shown(name)} is packed in a way that NumPy never packs.")
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise InputError(f"{path}: the header of {shown(name)} is not of version 1.0.")
        shape, fortran, found = np.lib.format.read_array_header_1_0(file)
        if found not in kinds or len(shape) != axes or fortran:
            order = " in Fortran's order" if fortran else ""
            raise InputError(
                f"{path}: {shown(name)} must have {axes} axes of {' or '.join(map(str, kinds))} in C order,"
                f" got {len(shape)} of {found}{order}."
            )
        size = math.prod(shape) * found.itemsize
        if min(shape, default=0) < 0 or size + file.tell() != entry.file_size or size > largest:
            raise InputError(f"{path}: {shown(name)} says shape {shape}, which is not its size.")
        return np.frombuffer(file.read(size), found).reshape(shape)
