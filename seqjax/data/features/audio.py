"""Recordings of one channel and 16 bits: NIST SPHERE, as TIMIT has it, and RIFF wave files.

Read here, not by a library: those take a file that was cut off for a short one.
"""

import io
import re
import wave
from pathlib import Path

import numpy as np

from seqjax.errors import InputError
from seqjax.files.text import read_bytes

LARGEST = 256 << 20  # bytes


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """`(samples [N] int16, samples per second)`.

    Raises:
      InputError: if the file is none of the two, or of another kind, or cut off.
    """
    data = read_bytes(path, LARGEST)
    read = _nist if data.startswith(b"NIST_1A\n") else _riff
    try:
        samples, count, rate = read(data)
    except (ValueError, EOFError, wave.Error, RuntimeError) as error:  # (the last of wave, too)
        reason = str(error) or "it ends too soon"
        raise InputError(f"{path} is no recording that can be read: {reason}.") from error
    if len(samples) != count:
        raise InputError(f"{path} is cut off: {len(samples)} of {count} samples are there.")
    if not 1 <= rate <= 1_000_000:
        raise InputError(f"{path} has a rate of {rate} samples per second.")
    return samples.astype(np.int16), rate


def _nist(data: bytes) -> tuple[np.ndarray, int, int]:
    """NIST SPHERE: lines of `name -type value` up to `end_head`, in a block of a stated size."""
    size = data[8:16].strip()
    if not (size.isdigit() and 16 < int(size) <= len(data)):
        raise ValueError("its header is cut off")
    head, found, _ = data[16 : int(size)].partition(b"end_head")
    if not found:
        raise ValueError("its header has no end_head")
    fields = dict(re.findall(r"^(\w+) -(?:i|r|s\d+) (.*?)\s*$", head.decode("ascii"), re.M))
    coding = (fields.get("sample_coding", "pcm"), fields.get("channel_count", "1"))
    kind = {"01": "<i2", "10": ">i2"}.get(fields.get("sample_byte_format", ""))
    if kind is None or coding != ("pcm", "1") or fields.get("sample_n_bytes", "2") != "2":
        raise ValueError("it is not PCM of 16 bits in one channel")
    missing = {"sample_count", "sample_rate"} - fields.keys()
    if missing:
        raise ValueError(f"its header has no {min(missing)}")
    count, rate = int(fields["sample_count"]), int(fields["sample_rate"])
    return _samples(data[int(size) :], kind, count), count, rate


def _riff(data: bytes) -> tuple[np.ndarray, int, int]:
    with wave.open(io.BytesIO(data)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError("it is not PCM of 16 bits in one channel")
        count = file.getnframes()
        return _samples(file.readframes(count), "<i2", count), count, file.getframerate()


def _samples(data: bytes, kind: str, count: int) -> np.ndarray:
    return np.frombuffer(data, kind, min(max(count, 0), len(data) // 2))
