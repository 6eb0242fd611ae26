"""Files of strangers, read with a limit: as bytes, as text, as arrays."""

import io
import itertools
import math
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seqjax.errors import InputError, shown

MOST_FILES = 1_000_000
LARGEST_ARCHIVE = 1 << 30  # bytes, packed
LARGEST_ARRAY = 4 << 30  # bytes, unpacked


def read_bytes(path: Path, largest: int) -> bytes:
    """The contents of a file of at most `largest` bytes.

    Raises:
      InputError: if it is no such file; it may be a directory or a pipe.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device has no end
            raise InputError(f"{path} is no file.")
        if status.st_size > largest:
            raise InputError(f"{path} has {status.st_size:,} bytes; at most {largest:,} are read.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error


def read_text(path: Path, largest: int = 1 << 20) -> str:
    """A UTF-8 text file of at most `largest` bytes; raises InputError if it is none."""
    try:
        return read_bytes(path, largest).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason}.") from error


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


def read_arrays(path: Path, wanted: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file; no byte of it is unpacked before its header has been checked.

    Args:
      path: the file.
      wanted: name -> (dtype, number of axes), as in `{"lengths": ("<i4", 1)}`.

    Raises:
      InputError: if the file is none, or lacks an array, or one is of another kind.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path, LARGEST_ARCHIVE))) as archive:
            return {name: _read(archive, path, name, *kind) for name, kind in wanted.items()}
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


def _read(archive: zipfile.ZipFile, path: Path, name: str, dtype: str, axes: int) -> np.ndarray:
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
        if found != np.dtype(dtype) or len(shape) != axes or fortran:
            raise InputError(
                f"{path}: {shown(name)} must have {axes} axes of {np.dtype(dtype)} in C order,"
                f" got {len(shape)} of {found}."
            )
        size = math.prod(shape) * found.itemsize
        if min(shape) < 0 or size + file.tell() != entry.file_size or size > LARGEST_ARRAY:
            raise InputError(f"{path}: {shown(name)} says shape {shape}, which is not its size.")
        return np.frombuffer(file.read(size), found).reshape(shape)
