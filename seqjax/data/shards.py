"""Text larger than memory: tokenised once into files, of which any part is read by its position.

A folder of shards holds the tokens in files of equal length, one after the other, and a manifest,
written last, with the vocabulary and the size and SHA-256 sum of each file.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.batches import Rows, TokenBatch, batch_at
from seqjax.data.vocabulary import UNKNOWN, Vocabulary
from seqjax.errors import InputError, RunError, check_positive, shown
from seqjax.files.json import read_object, write_json
from seqjax.files.writing import make_folder, make_new
from seqjax.types import Array

MANIFEST = "shards.json"
SHARD_TOKENS = 1 << 28
DTYPES = ("uint8", "uint16", "uint32")
SUM = re.compile("[0-9a-f]{64}")
LONGEST_ROW = 2**31 - 1  # a window's number is an int32


class Shards:
    """Tokens in a folder, read as they are needed.

    Args:
      folder: as `write_shards` made it.

    Attributes:
      vocabulary: of the tokens.
      digest: a sum of the sums of all files: it tells one text from every other.

    Raises:
      InputError: if it is none, or a file is missing or has another size.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        manifest = read_object(folder / MANIFEST)
        self.vocabulary = Vocabulary("char", manifest.get("tokens", []))
        files, dtype = manifest.get("files"), manifest.get("dtype")
        if dtype not in DTYPES or not isinstance(files, list) or not files:
            raise InputError(f"{folder / MANIFEST} is no manifest of shards: make them again.")
        counts = [0]
        self._dtype, self._sums = np.dtype(dtype), []
        for number, entry in enumerate(files):
            path = folder / _name(number)
            count, digest = _entry(entry, path)
            size = path.stat().st_size if path.is_file() and not path.is_symlink() else -1
            if size != count * self._dtype.itemsize:
                raise InputError(f"{path} is missing or has another size: make the shards again.")
            counts.append(count)
            self._sums.append(digest)
        self._starts = np.cumsum(counts)
        self.digest = hashlib.sha256("".join(self._sums).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """The tokens from `start` to `stop`, int32 [stop - start], each below the vocabulary's size."""
        tokens = np.empty(stop - start, np.int32)
        at = start
        while at < stop:
            number = int(np.searchsorted(self._starts, at, "right")) - 1
            end = min(stop, int(self._starts[number + 1]))
            # Read, not mapped: what is mapped counts as this process's memory.
            part = self._read_file(number, at - int(self._starts[number]), end - at)
            if len(part) < end - at or part.max(initial=0) >= len(self.vocabulary):
                raise RunError(f"the shards in {self.folder} are damaged: make them again.")
            tokens[at - start : end - start] = part
            at = end
        return tokens

    def _read_file(self, number: int, first: int, count: int) -> np.ndarray:
        path = self.folder / _name(number)
        try:
            return np.fromfile(path, self._dtype, count, offset=first * self._dtype.itemsize)
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}.") from error

    def check(self) -> None:
        """Reads everything, and raises RunError if a file is not what it was."""
        for number, digest in enumerate(self._sums):
            path = self.folder / _name(number)
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise RunError(f"cannot read {path}: {error.strerror}.") from error
            if found != digest:
                raise RunError(f"{path} is damaged: make the shards again.")


def _name(number: int) -> str:
    return f"tokens-{number:05}.bin"


def _entry(entry: Any, path: Path) -> tuple[int, str]:
    match entry:
        case {"tokens": int(count), "sha256": str(digest)} if count > 0 and SUM.fullmatch(digest):
            return count, digest
    raise InputError(f"the manifest's entry of {path} is none: {shown(entry)}.")


def write_shards(
    text: Callable[[], Iterable[str]], folder: Path, *, shard_tokens: int = SHARD_TOKENS
) -> Shards:
    """Tokenises a text by characters into a folder; memory is used for one of its pieces at a time.

    Args:
      text: gives its pieces, from the start, twice: once for the vocabulary.
      folder: where to; it holds no shards yet.
      shard_tokens: tokens of a file.

    Raises:
      InputError: if the text is empty, or the folder has shards.
      RunError: if the folder cannot be written; what is there then is no folder of shards.
    """
    check_positive("shard_tokens", shard_tokens)
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder} holds shards already: name another folder.")
    seen = np.zeros(0x110000, bool)
    for piece in text():
        seen[_points(piece)] = True
    points = np.flatnonzero(seen)
    if not len(points):
        raise InputError("the text is empty.")
    tokens = [UNKNOWN, *map(chr, points.tolist())]
    dtype = next(name for name in DTYPES if len(tokens) <= np.iinfo(name).max + 1)
    ids = np.zeros(0x110000, dtype)
    ids[points] = np.arange(1, len(tokens))
    try:
        make_folder(folder)
        files = _write_files((ids[_points(piece)] for piece in text()), folder, shard_tokens)
        write_json(folder / MANIFEST, {"tokens": tokens, "dtype": dtype, "files": files})
    except OSError as error:
        raise RunError(f"cannot write {error.filename or folder}: {error.strerror}.") from error
    return Shards(folder)


def _points(piece: str) -> np.ndarray:
    return np.frombuffer(piece.encode("utf-32-le"), np.uint32)


def _write_files(
    pieces: Iterable[np.ndarray], folder: Path, shard_tokens: int
) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = []
    room, file, digest = 0, None, hashlib.sha256()
    try:
        for piece in pieces:
            while len(piece):
                if not room:
                    if file is not None:
                        file.close()
                        files[-1]["sha256"] = digest.hexdigest()
                    path = folder / _name(len(files))
                    path.unlink(missing_ok=True)  # of an attempt that was cut off, or a link
                    file = make_new(path)
                    files.append({"tokens": 0})
                    room, digest = shard_tokens, hashlib.sha256()
                part, piece = piece[:room], piece[room:]
                assert file is not None
                file.write(part.tobytes())
                digest.update(part.tobytes())
                files[-1]["tokens"] += len(part)
                room -= len(part)
    finally:
        if file is not None:
            file.close()
    files[-1]["sha256"] = digest.hexdigest()
    return files


class Piece(NamedTuple):
    """Some windows in a row of a text in shards."""

    rows: Rows  # [B, most windows * T]; what lies past the last of them is zeros
    start: Array  # [] int32, the update that takes the first one
    per_epoch: Array  # [] int32, windows until the text begins again


class Windows(NamedTuple):
    """The first `tokens` of a text in shards, cut into B rows of windows of T tokens.

    The batch of an update follows from its number alone, as of `training_rows`.
    """

    shards: Shards
    tokens: int
    batch_size: int
    seq_len: int

    @property
    def per_epoch(self) -> int:
        """Windows of a row: updates in an epoch."""
        return self._row // self.seq_len

    @property
    def _row(self) -> int:
        length = (self.tokens - 1) // self.batch_size
        return length - length % self.seq_len

    def check(self) -> None:
        """Raises InputError if the text is shorter than one batch."""
        if not 0 < self.per_epoch < LONGEST_ROW:
            raise InputError(
                f"the training text has {self.tokens} tokens; a batch of {self.batch_size} sequences"
                f" of {self.seq_len} needs {self.batch_size * self.seq_len + 1}."
            )

    def window_rows(self, start: int, count: int, rows: slice) -> np.ndarray:
        """The windows of `count` updates and the token after each, of some rows.

        Args:
          start: the first update.
          count: of updates.
          rows: of the batch.

        Returns:
          int32 [rows, count, T + 1].
        """
        numbers = range(*rows.indices(self.batch_size))
        out = np.zeros((len(numbers), count, self.seq_len + 1), np.int32)
        for i, row in enumerate(numbers):
            done = 0
            while done < count:  # from the start again at the end
                window = (start + done) % self.per_epoch
                some = min(count - done, self.per_epoch - window)
                first = row * self._row + window * self.seq_len
                tokens = self.shards.read(first, first + some * self.seq_len + 1)
                inputs = tokens[:-1].reshape(some, self.seq_len)
                out[i, done : done + some, :-1] = inputs
                out[i, done : done + some, -1] = tokens[self.seq_len :: self.seq_len]
                done += some
        return out

    def piece(self, start: int, count: int, most: int, rows: slice = slice(None)) -> Piece:
        """The windows of `count` updates from `start` on, in arrays for `most`."""
        found = self.window_rows(start, count, rows)
        padded = np.zeros((len(found), most, self.seq_len + 1), np.int32)
        padded[:, :count] = found
        shape = (len(found), most * self.seq_len)
        weights = np.ones(shape, np.float32)
        rows_ = Rows(padded[..., :-1].reshape(shape), padded[..., 1:].reshape(shape), weights)
        return Piece(rows_, jnp.int32(start), jnp.int32(self.per_epoch))


def piece_batch(piece: Piece, seq_len: int, step: Array) -> TokenBatch:
    """The batch of update `step`, which lies in the piece."""
    batch = batch_at(piece.rows, seq_len, step - piece.start)
    return batch._replace(first=jnp.equal(step % piece.per_epoch, 0))
