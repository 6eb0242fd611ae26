"""Lines of handwriting as the pen wrote them, with what they say: IAM-OnDB and UNIPEN.

A frame is a point of the pen's way, with 4 inputs (Graves et al., PAMI 2009; Greff et al., 2017):
the step to it from the point before, Δx and Δy, in the data set's own units (0 at the first point);
the time since the stroke began, in seconds; and 1 where the pen leaves the paper, else 0. Targets
are the line's characters: labels without times, for `seqjax.decode.ctc`.

Characters are those of the training split, sorted. Should another split have one that the training
split lacks, all such are one more class, `<unk>`: no output can be right about them.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np

from seqjax.data.sequences import Example, Sequences, check_splits
from seqjax.data.vocabulary import UNKNOWN
from seqjax.errors import InputError, check_positive, check_rate
from seqjax.files.arrays import LARGEST_TEXT, files_below, read_arrays
from seqjax.files.text import read_bytes, read_text

LARGEST_VALUE = 1e12  # of a coordinate or a time
LARGEST_LINE = 16 << 20  # bytes of XML; a line has some 60 thousand
IAM_SPLITS = {
    "train": ("trainset.txt",),
    "valid": ("testset_v.txt", "testset_t.txt"),
    "test": ("testset_f.txt",),
}
UNIPEN_ARRAYS = {
    "points": ("<i2", 2),
    "lengths": ("<i4", 1),
    "label_bytes": ("|u1", 1),
    "label_lengths": ("<i4", 1),
    "points_per_second": ("<f4", 1),
}


class _Line(NamedTuple):
    inputs: np.ndarray  # [T, 4] float32
    text: str


def load_iam_ondb(
    directory: str | Path, *, every: int = 1, skip: Collection[str] = ()
) -> Sequences:
    """IAM-OnDB, lines of English on a whiteboard (Liwicki and Bunke, ICDAR 2005).

    Found anywhere below the directory: `lineStrokes/a01/a01-000/a01-000u-01.xml`, a line's strokes;
    `ascii/a01/a01-000/a01-000u.txt`, whose lines after `CSR:` say what the form's lines 01, 02, ...
    say; and lists of forms, `trainset.txt`, `testset_v.txt` and `testset_t.txt` (validation) and
    `testset_f.txt` (test).

    Args:
      directory: where the archives were unpacked.
      every: keep every so many points of a stroke, and its last one.
      skip: names of lines or forms to leave out, as "a01-000u-01"; some are known not to say what
        their transcription says.

    Raises:
      InputError: if a list or a form is missing, or a line is broken or not transcribed; the
        message names every such line.
    """
    check_positive("every", every)
    files = files_below(directory)
    lists = {path.name.lower(): path for path in reversed(files)}  # the first, were there two
    texts = {path.stem: path for path in files if path.suffix.lower() == ".txt"}
    strokes: dict[str, dict[int, Path]] = {}
    for path in files:
        if match := re.fullmatch(r"(\w+-\w+)-(\d+)\.xml", path.name, re.ASCII | re.IGNORECASE):
            strokes.setdefault(match[1], {})[int(match[2])] = path
    faults: list[tuple[str, InputError]] = []
    splits: dict[str, list[_Line]] = {}
    for split, names in IAM_SPLITS.items():
        splits[split] = []
        for name in names:
            if name not in lists:
                raise InputError(f"{directory} has no list of forms {name}.")
            for form in read_text(lists[name], LARGEST_TEXT).split():
                if form not in skip:
                    splits[split] += _form(form, strokes, texts, every, skip, faults)
    if faults:
        broken = ",".join(name for name, _ in faults)
        raise InputError(f"{str(faults[0][1])[:-1]} (skip={broken} leaves out what is broken).")
    return _sequences(splits, str(directory))


def _form(
    form: str,
    strokes: dict[str, dict[int, Path]],
    texts: dict[str, Path],
    every: int,
    skip: Collection[str],
    faults: list[tuple[str, InputError]],
) -> list[_Line]:
    """The lines of a form in order; what is wrong with others goes to `faults`."""
    if form not in strokes:
        raise InputError(f"there are no strokes {form}-01.xml, a form that the lists name.")
    if form not in texts:
        raise InputError(f"there is no transcription {form}.txt, a form that the lists name.")
    _, found, after = read_text(texts[form], LARGEST_TEXT).partition("CSR:")
    if not found:
        raise InputError(f"{texts[form]} has no line CSR:, after which the transcription stands.")
    transcription = [line.strip() for line in after.splitlines() if line.strip()]
    lines = []
    for number, path in sorted(strokes[form].items()):
        if path.stem in skip:
            continue
        try:
            if not 1 <= number <= len(transcription):
                raise InputError(f"{path} has no transcription, line {number} of {texts[form]}.")
            lines.append(_Line(_iam_inputs(path, every), transcription[number - 1]))
        except InputError as fault:
            faults.append((path.stem, fault))
    return lines


def _iam_inputs(path: Path, every: int) -> np.ndarray:
    strokes: list[list[tuple[float, float, float]]] = []

    def element(name: str, attributes: dict[str, str]) -> None:
        if name == "Stroke":
            strokes.append([])
        elif name == "Point":
            x, y, time = (float(attributes[key]) for key in ("x", "y", "time"))
            if not all(abs(value) < LARGEST_VALUE for value in (x, y, time)):  # (nor is NaN)
                raise ValueError(f"a point at {x}, {y}, {time}")
            strokes[-1].append((x, y, time))

    def doctype(
        *_: object,
    ) -> None:  # entities, and files to read, are declared there and nowhere else
        raise ValueError("a DOCTYPE, which no line has")

    parser = expat.ParserCreate()
    parser.StartElementHandler = element
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(read_bytes(path, LARGEST_LINE), True)
    except KeyError as error:
        raise InputError(f"{path} has a point without {error}.") from error
    except IndexError as error:
        raise InputError(f"{path} has a point outside of any stroke.") from error
    except (expat.ExpatError, ValueError, LookupError) as error:  # (the last of an encoding)
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no line of strokes: {error}.") from error
    if not strokes or not all(strokes):
        raise InputError(f"{path} has {'an empty stroke' if strokes else 'no strokes'}.")
    points = np.array([point for stroke in strokes for point in stroke])
    lengths = np.array([len(stroke) for stroke in strokes])
    begins = np.repeat(points[np.cumsum(lengths) - lengths, 2], lengths)
    return _inputs(points[:, :2], points[:, 2] - begins, lengths, every)


def load_unipen(directory: str | Path, *, points_per_second: float | None = None) -> Sequences:
    """Lines of UNIPEN (Guyon et al., ICPR 1994) from `unipen_{train,valid,test}.npz`.

    Arrays: `points` int16 [N, 3], the step to each point in 0.01 mm and 1 on the last one of a
    stroke, the lines one after the other; `lengths` int32 of the lines; `label_bytes` uint8, Latin-1,
    and `label_lengths` int32; `points_per_second` float32, with which a line was recorded. Writers
    of the splits are disjoint.

    Args:
      directory: where the three files are.
      points_per_second: keep every so many points of a stroke, and its last one, that about this
        many are left of a second; None for all. Tablets recorded 60 to 200.

    Raises:
      InputError: if a file is missing, or its arrays do not fit each other.
    """
    if points_per_second is not None:
        check_rate("points_per_second", points_per_second)
    splits = {
        split: _unipen_lines(Path(directory) / f"unipen_{split}.npz", points_per_second)
        for split in ("train", "valid", "test")
    }
    return _sequences(splits, str(directory))


def _unipen_lines(path: Path, wanted_rate: float | None) -> list[_Line]:
    points, lengths, characters, label_lengths, rates = read_arrays(path, UNIPEN_ARRAYS).values()
    if not len(lengths) == len(label_lengths) == len(rates):
        raise InputError(
            f"{path} has {len(lengths)} lengths, {len(label_lengths)} label lengths and"
            f" {len(rates)} rates; each line has one of each."
        )
    for name, counts, parts in (
        ("points", lengths, points),
        ("label_bytes", label_lengths, characters),
    ):
        if np.any(counts < 1) or counts.sum(dtype=np.int64) != len(parts):
            raise InputError(
                f"{path}: the lengths must be at least 1 and add up to the {len(parts)} {name}, got"
                f" {counts.sum(dtype=np.int64)}."
            )
    if points.shape[1] != 3 or not np.all((points[:, 2] == 0) | (points[:, 2] == 1)):
        raise InputError(f"{path}: points must be [N, 3], the last of them 0 or 1.")
    if not np.all((rates >= 1) & (rates <= 1e5)):  # (NaN is neither)
        raise InputError(f"{path}: points_per_second must lie between 1 and 100,000.")
    ends = np.cumsum(lengths, dtype=np.int64)
    if not np.all(points[ends - 1, 2] == 1):
        raise InputError(f"{path}: a line's last point must be the last one of a stroke.")
    texts = np.split(characters, np.cumsum(label_lengths, dtype=np.int64)[:-1])
    lines = []
    for line, text, rate in zip(np.split(points, ends[:-1]), texts, rates, strict=True):
        last = np.flatnonzero(line[:, 2]) + 1
        strokes = np.diff(last, prepend=0)
        seconds = _places(strokes) / rate
        every = 1 if wanted_rate is None else max(1, round(float(rate) / wanted_rate))
        where = np.cumsum(line[:, :2], 0, dtype=np.int64)
        lines.append(
            _Line(_inputs(where, seconds, strokes, every), text.tobytes().decode("latin-1"))
        )
    return lines


def _inputs(where: np.ndarray, seconds: np.ndarray, lengths: np.ndarray, every: int) -> np.ndarray:
    """The 4 inputs `[T, 4]` of points `[N, 2]`, of their times `[N]` and of the strokes' lengths."""
    lifted = np.zeros(len(where), bool)
    lifted[np.cumsum(lengths) - 1] = True
    kept = lifted | (_places(lengths) % every == 0)
    steps = np.diff(where[kept], axis=0, prepend=where[:1])
    return np.column_stack([steps, seconds[kept], lifted[kept]]).astype(np.float32)


def _places(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... for the points of every stroke."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _sequences(splits: dict[str, list[_Line]], source: str) -> Sequences:
    names = _characters(splits["train"])
    unseen = _characters([*splits["valid"], *splits["test"]]) - names
    classes = (*sorted(names), UNKNOWN) if unseen else tuple(sorted(names))
    ids = {name: i for i, name in enumerate(classes)} | dict.fromkeys(unseen, len(names))

    def examples(lines: list[_Line]) -> list[Example]:
        return [Example(x, np.array([ids[c] for c in text], np.int32)) for x, text in lines]

    train, valid, test = (examples(splits[split]) for split in ("train", "valid", "test"))
    return check_splits(Sequences(train, valid, test, classes), source)


def _characters(lines: Iterable[_Line]) -> set[str]:
    return {character for line in lines for character in line.text}
