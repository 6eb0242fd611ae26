"""Lists of SHA-256 sums, in the form of `sha256sum`, by which a folder's files are known to be sound."""

import hashlib
import os
import stat
from pathlib import Path

from seqjax.errors import InputError
from seqjax.files.text import read_text
from seqjax.files.writing import is_folder

LARGEST = 64 << 20  # bytes of a list


def files_of(folder: Path) -> list[Path]:
    """Every regular file below a folder, sorted; no link is followed."""
    paths = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if stat.S_ISREG(path.lstat().st_mode))


def sums_of(folder: Path, name: str) -> str:
    """The list of a folder's files, with `name` for the folder's own.

    Once it returns, the files are on the disk.
    """
    paths = files_of(folder)
    return "".join(f"{_sum(p)}  {name}/{p.relative_to(folder).as_posix()}\n" for p in paths)


def damage_of(folder: Path, sums: Path) -> str:
    """What is wrong with the files that a list names; "" if nothing is.

    Files that the list never named, such as a file manager leaves, are nobody's damage.
    """
    if not is_folder(folder):
        return "its folder is missing"
    if not os.path.lexists(sums):
        return f"its list of sums, {sums.name}, is missing"
    try:
        lines = [line.split("  ", 1) for line in read_text(sums, LARGEST).splitlines()]
        wanted = {name: digest for digest, name in lines}
    except (InputError, OSError, ValueError):
        return "its list of sums cannot be read"
    for name, digest in sorted(wanted.items()):
        parts = Path(name).parts
        if parts[:1] != (folder.name,) or ".." in parts:
            return "its list of sums names files of others"
        path = folder.parent / name
        try:
            if not stat.S_ISREG(path.lstat().st_mode):  # a pipe would be waited for
                return f"{name} is no file"
            if _sum(path) != digest:
                return f"{name} was changed"
        except FileNotFoundError:
            return f"{name} is missing"
        except (OSError, ValueError) as error:
            return f"{name} cannot be read: {getattr(error, 'strerror', error)}"
    return "" if wanted else "its list of sums is empty"


def _sum(path: Path) -> str:
    """The SHA-256 sum of a file that, from then on, is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
