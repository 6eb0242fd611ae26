"""Speech, every frame of it named: TIMIT's phones, or the digits of an open data set.

Inputs are the 39 features of `seqjax.data.features.mfcc`, a frame every 10 ms; targets are a class for each
frame, `[T]`: what is spoken at the frame's centre.
"""

import re
from pathlib import Path

import numpy as np

from seqjax.data.features.audio import read_audio
from seqjax.data.features.mfcc import ENERGY, decibels, mfcc, window_and_step
from seqjax.data.sequences import Example, Sequences, check_splits
from seqjax.errors import InputError, shown
from seqjax.files.arrays import LARGEST_TEXT, files_below, read_arrays
from seqjax.files.text import read_text

PHONES = tuple(
    "b d g p t k dx q bcl dcl gcl pcl tcl kcl jh ch s sh z zh f th v dh m n ng em en eng nx l r w y"
    " hh hv el iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h pau epi h#".split()
)
CORE_TEST = frozenset(
    "felc0 mdab0 mwbt0 fpas0 mtas1 mwew0 fpkt0 mjmp0 mlnt0 fjlm0 mlll0 mtls0"
    " fnlp0 mbpm0 mklt0 fmgd0 mcmj0 mjdh0 fdhc0 mgrt0 mnjm0 fmld0 mjln0 mpam0".split()
)
DEVELOPMENT = frozenset(
    "fadg0 faks0 fcal1 fcmh0 fdac1 fdms0 fdrw0 fedw0 fgjd0 fjem0 fjmg0 fjsj0 fkms0 fmah0 fmml0 fnmr0"
    " frew0 fsem0 majc0 mbdg0 mbns0 mbwm0 mcsh0 mdlf0 mdls0 mdvc0 mers0 mgjf0 mglb0 mgwt0 mjar0 mjfc0"
    " mjsw0 mmdb1 mmdm2 mmjr0 mmwh0 mpdf0 mrcs0 mreb0 mrjm4 mrjr0 mroa0 mrtk0 mrws1 mtaa0 mtdt0 mteb0"
    " mthc0 mwjg0".split()
)
TIMIT_RATE = 16_000  # the phones' places are counted in samples of it
FSDD_RATE = 8000
FSDD_ARRAYS = {"audio": ("<i2", 1), "lengths": ("<i4", 1), "digit": ("|u1", 1), "index": ("|u1", 1)}
SILENCE = -40.0  # dB, to the loudest frame of a recording


def load_timit(directory: str | Path) -> Sequences:
    """TIMIT (Garofolo et al., LDC93S1): 61 phones.

    Found anywhere below the directory, in capitals or not: `TRAIN/DR1/FCJF0/SX37.WAV` (NIST SPHERE
    or RIFF) and beside it `SX37.PHN`, lines of `first_sample end_sample phone`. The dialect
    sentences SA1 and SA2, which everyone speaks, are left out. The test split is the core test set,
    192 sentences of 24 speakers; validation is the 50 other speakers of TEST that Halberstadt (PhD
    thesis, MIT, 1998) chose, 400 sentences; training is all of TRAIN, 3696 sentences.

    A frame's phone is the last one that starts at or before its centre; frames after the last phone
    are left out.

    Raises:
      InputError: if a recording or its phones are missing or broken, or librosa is not installed;
        the message names the file.
    """
    files = files_below(directory)
    phones = {(path.parent, path.stem.lower()): path for path in files if _is(path, ".phn")}
    splits: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    seen: set[tuple[Path, str]] = set()
    for path in files:
        split = _timit_split(path)
        key = (path.parent, path.stem.lower())
        # some copies hold SX37.WAV and SX37.WAV.wav: the first is the one that the phones name
        if not _is(path, ".wav") or split is None or path.stem.lower().endswith(".wav"):
            continue
        if key in seen:
            raise InputError(f"{path} is there twice, in capitals and not.")
        seen.add(key)
        if key not in phones:
            raise InputError(f"{path} has no phones beside it, {path.stem}.PHN.")
        splits[split].append(_timit_example(path, phones[key]))
    silent = [path for key, path in phones.items() if key not in seen and _timit_split(path)]
    if silent:
        raise InputError(f"{silent[0]} has no recording beside it, {silent[0].stem}.WAV.")
    return check_splits(Sequences(**splits, names=PHONES), str(directory))


def _is(path: Path, suffix: str) -> bool:
    return path.suffix.lower() == suffix


def _timit_split(path: Path) -> str | None:
    """The split of a sentence by its path, None for those that no split has."""
    *_, part, _, speaker, name = ("", "", "", *path.parts)
    part, speaker = part.lower(), speaker.lower()
    if not re.match(r"s[ix]\d", name.lower()):
        return None
    if part == "test":
        return "test" if speaker in CORE_TEST else "valid" if speaker in DEVELOPMENT else None
    return "train" if part == "train" else None


def _timit_example(path: Path, phones: Path) -> Example:
    samples, rate = read_audio(path)
    window, step = window_and_step(TIMIT_RATE)
    if rate != TIMIT_RATE or len(samples) < window:
        raise InputError(
            f"{path} must have {TIMIT_RATE} samples per second, and {window} or more of them, got"
            f" {rate} and {len(samples)}."
        )
    starts, ends, classes = _read_phones(phones, len(samples))
    inputs = mfcc(samples, rate)
    centres = np.arange(len(inputs)) * step + window // 2
    centres = centres[centres < ends[-1]]
    targets = classes[np.searchsorted(starts, centres, side="right") - 1]
    return Example(inputs[: len(centres)], targets)


def _read_phones(path: Path, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First samples, ends and classes of a sentence's phones, which follow one another.

    Neighbours may miss each other, and the last one the recording's end, by one step between frames.
    """
    window, step = window_and_step(TIMIT_RATE)
    ids = {phone: i for i, phone in enumerate(PHONES)}
    rows: list[tuple[int, int, int]] = []
    before = 0
    for number, line in enumerate(read_text(path, LARGEST_TEXT).splitlines(), 1):
        match = re.fullmatch(r"\s*(\d{1,9})\s+(\d{1,9})\s+(\S+)\s*", line, re.ASCII)
        if not match:
            raise InputError(
                f"line {number} of {path} must be first sample, end and phone, got {shown(line)}."
            )
        start, end, phone = int(match[1]), int(match[2]), match[3].lower()
        if phone not in ids:
            raise InputError(
                f"line {number} of {path} has {shown(phone)}, which is none of the 61 phones."
            )
        if start >= end or end > samples + step:
            raise InputError(
                f"line {number} of {path} lies outside of the recording: {start} to {end} of"
                f" {samples} samples."
            )
        if abs(start - before) > step or (rows and start < rows[-1][0]):
            raise InputError(
                f"line {number} of {path} starts at {start}, but the phone before ends at {before}."
            )
        rows.append((start, end, ids[phone]))
        before = end
    if not rows or before <= window // 2:
        raise InputError(f"{path} names no phone at the centre of the first frame.")
    starts, ends, classes = np.array(rows, np.int32).T
    return starts, ends, classes


def load_fsdd(directory: str | Path) -> Sequences:
    """The Free Spoken Digit Dataset (Jackson et al., 2018; CC BY-SA 4.0): open, at 8 kHz.

    From `fsdd.npz`: `audio` int16, all recordings one after the other; `lengths` int32; `digit` and
    `index` uint8. Every recording is one digit. A frame's class is that digit, or "silence" where it
    is more than 40 dB below the recording's loudest: not all recordings were trimmed. The test split
    is the official one, the recordings 0 to 4 of every digit and speaker; 5 to 9 are validation.
    All six speakers are in every split.

    Raises:
      InputError: if the file is missing, or its arrays do not fit each other, or librosa is not
        installed.
    """
    path = Path(directory) / "fsdd.npz"
    audio, lengths, digits, indices = read_arrays(path, FSDD_ARRAYS).values()
    if not len(lengths) == len(digits) == len(indices):
        raise InputError(
            f"{path} has {len(lengths)} lengths, {len(digits)} digits and {len(indices)} indices;"
            " each recording has one of each."
        )
    window, _ = window_and_step(FSDD_RATE)
    if np.any(lengths < window) or lengths.sum(dtype=np.int64) != len(audio):
        raise InputError(
            f"{path}: the lengths must be at least {window} and add up to the {len(audio)} samples,"
            f" got {lengths.sum(dtype=np.int64)}."
        )
    if np.any(digits > 9):
        raise InputError(f"{path} has a digit of {digits.max()}.")
    names = (*map(str, range(10)), "silence")
    splits: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    recordings = np.split(audio, np.cumsum(lengths, dtype=np.int64)[:-1])
    for samples, digit, index in zip(recordings, digits, indices, strict=True):
        inputs = mfcc(samples, FSDD_RATE)
        silent = decibels(inputs[:, ENERGY]) < SILENCE
        targets = np.where(silent, names.index("silence"), digit).astype(np.int32)
        split = "test" if index < 5 else "valid" if index < 10 else "train"
        splits[split].append(Example(inputs, targets))
    return check_splits(Sequences(**splits, names=names), str(path))
