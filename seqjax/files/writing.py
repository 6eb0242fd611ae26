"""Files of ours, written where strangers may have been: whole, and never through a link or a pipe.

A name that can be foreseen can be taken by somebody else first: by a link to a file that he wants
written over, by a pipe that nobody reads. New files therefore have random names until they are whole,
are made by this process (`O_EXCL`) and follow no link (`O_NOFOLLOW`).
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from seqjax.errors import RunError

NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial")  # names of files that are not whole yet


def write_atomically(path: Path, text: str) -> None:
    """Writes a text to a neighbour and renames it, so that no reader ever sees half a file.

    Once it returns, the text is on the disk: it survives the machine's sudden end, too. A link at
    `path` is replaced, not followed.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_atomically`, for bytes."""
    with _replacing(path) as file:
        file.write(data)


def start_file(path: Path, text: str) -> TextIO:
    """Writes a text as `write_atomically` does, and opens the file for `append`.

    Raises:
      RunError: if somebody else has put another file in its place meanwhile.
    """
    with _replacing(path) as new:
        new.write(text.encode())
        written = os.fstat(new.fileno())
    file = open_to_append(path)
    if not os.path.samestat(os.fstat(file.fileno()), written):
        file.close()
        raise RunError(f"{path} was replaced while it was opened.")
    return file


def open_to_append(path: Path) -> TextIO:
    """A text file, made if there is none; a link or a pipe is an error (an OSError)."""
    refuse = NO_LINK | getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody reads would be waited for
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | refuse, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(path, "a", encoding="utf-8", opener=lambda *_: descriptor)


def append(file: TextIO, text: str) -> None:
    """Writes text to a file of `start_file` and the file to the disk.

    Raises:
      OSError: as on a full disk; it names the file.
      RunError: if the file's name leads to no file any more, or to another: what is written would
        be lost.
    """
    try:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.name) from error
    check_still_there(Path(file.name), os.fstat(file.fileno()))


def check_still_there(path: Path, before: os.stat_result) -> None:
    """Raises RunError unless `path` leads to the file or directory that it led to before."""
    with contextlib.suppress(OSError):
        if os.path.samestat(path.stat(), before):
            return
    raise RunError(f"{path} was removed, moved or replaced during the run.")


class Place:
    """A directory as it is now, by which it is known again later."""

    def __init__(self, path: Path):
        self.path, self._then = path, path.stat()
        with contextlib.suppress(OSError):  # not every system opens directories
            # While it is open, no directory made after its removal gets the same number.
            weakref.finalize(self, os.close, os.open(path, os.O_RDONLY))

    def check(self) -> None:
        """Raises RunError if the path leads to no directory any more, or to another."""
        check_still_there(self.path, self._then)


def make_new(path: Path) -> BinaryIO:
    """A new file, opened to be written; what stands at `path` already is an error (an OSError)."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def make_folder(path: Path) -> None:
    """Makes a directory, or takes one that is there.

    Raises:
      OSError: if it cannot be made, or something else is there: also a link to a directory.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if not is_folder(path):
            reason = "it is a link" if path.is_symlink() else os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, reason, str(path)) from None


def is_folder(path: Path) -> bool:
    """Whether there is a directory, and not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def sync_folder(path: Path) -> None:
    """Puts the names in a directory onto the disk, so that a rename survives the machine's end."""
    with contextlib.suppress(OSError):  # not every system opens directories
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partial(directory: Path) -> None:
    """Removes what writers that were killed have left in a directory."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if _PARTIAL.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk, and takes the name `path`, at the end of the `with`."""
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with make_new(partial) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
