"""Reading files within a limit of size, as bytes and as text."""

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from seqjax.errors import InputError, reason

PIECE = 1 << 20  # bytes
FREE_BYTES = 16 << 20  # a compressed file may hold this many bytes ...
FOLD = 100  # ... and so many for each byte of it that was read: text is 3 to 10


def read_bytes(path: Path, largest: int) -> bytes:
    """The contents of a file of at most `largest` bytes, those of a `.gz` file unpacked.

    Raises:
      InputError: if it is no such file; it may be a directory or a pipe.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device has no end
            raise InputError(f"{path} is no file.")
        if status.st_size > largest:
            raise InputError(f"{path} has {status.st_size:,} bytes; at most {largest:,} are read.")
        if path.suffix != ".gz":
            return path.read_bytes()
        unpacked = bytearray()
        for piece in unpack(path):
            unpacked += piece
            if len(unpacked) > largest:
                raise InputError(f"{path} unpacks to more than {largest:,} bytes.")
        return bytes(unpacked)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        # (a name with a zero byte is a ValueError; gzip's errors have no strerror)
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {reason(error)}.") from error


def unpack(path: Path) -> Iterator[bytes]:
    """The contents of a `.gz` file in pieces, as long as they are no bomb.

    Raises:
      InputError: where they are much more than what was read for them.
      OSError, EOFError, zlib.error: if the file is no sound `.gz` file.
    """
    size = 0
    with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as file:
        while piece := file.read(PIECE):
            size += len(piece)
            if size > FREE_BYTES + FOLD * packed.tell():
                raise InputError(
                    f"{path} unpacks to more than {FOLD} times its size: unpack it yourself if that"
                    " is right."
                )
            yield piece


def read_text(path: Path, largest: int) -> str:
    """A UTF-8 text file, plain or `.gz`, of at most `largest` bytes; every line end is a line feed.

    The byte-order mark, with which some editors begin a file, is no part of the text.

    Raises:
      InputError: if it is no such file.
    """
    try:
        text = read_bytes(path, largest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason}.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines_of(text: str) -> list[str]:
    """The lines of a text whose every line end is a line feed; what Unicode also calls one stays in its line."""
    lines = text.split("\n")
    return lines[:-1] if not lines[-1] else lines
