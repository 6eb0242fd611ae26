"""Text from every kind of source, and its splits. No test needs a network."""

import gzip
import resource
import time

import datasets
import numpy as np
import pytest

from seqjax.data import load_text
from seqjax.data import text as text_module
from seqjax.data.text import stream_text
from seqjax.errors import InputError
from seqjax.files import text as text_files
from seqjax.files.json import read_json

LINES = "".join(f"línea {i}: 漢字\n" for i in range(50))


def write(path, text=LINES):
    data = text if isinstance(text, bytes) else text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        file.write(data)
    return str(path)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "no-suffix"])
def test_one_file_is_cut_by_position(tmp_path, name):
    splits = load_text(write(tmp_path / name), validation_fraction=0.2, test_fraction=0.1)
    assert "".join(splits) == LINES
    n = len(LINES)
    assert len(splits.train) == pytest.approx(0.7 * n, abs=1)
    assert len(splits.validation) == pytest.approx(0.2 * n, abs=1)
    assert len(splits.test) == pytest.approx(0.1 * n, abs=1)


@pytest.mark.parametrize(
    ("validation", "test", "sizes"),
    [(0.05, 0.05, (900, 50, 50)), (0.9, 0.0, (100, 900, 0)), (0.0, 0.3, (700, 0, 300))],
)
def test_fractions_that_divide_the_text_are_exact(tmp_path, validation, test, sizes):
    path = write(tmp_path / "a.txt", "0123456789" * 100)
    splits = load_text(path, validation_fraction=validation, test_fraction=test)
    assert tuple(map(len, splits)) == sizes


def test_max_chars_is_taken_before_the_cut(tmp_path):
    path = write(tmp_path / "a.txt")
    splits = load_text(path, max_chars=100, validation_fraction=0.25)
    assert splits == (LINES[:75], LINES[75:100], "")
    assert load_text(path, max_chars=10**6) == load_text(path)


def test_a_directory_is_all_its_files_in_order(tmp_path, monkeypatch):
    write(tmp_path / "texts" / "b.txt", "two\n")
    write(tmp_path / "texts" / "a" / "z.txt", "one\n")
    write(tmp_path / "texts" / ".hidden" / "c.txt", "hidden\n")
    write(tmp_path / "texts" / ".d.txt", "hidden\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for source in (tmp_path / "texts", "../texts"):
        assert load_text(str(source), validation_fraction=0).train == "one\ntwo\n"


def test_a_directory_may_lie_below_a_hidden_one(tmp_path):
    write(tmp_path / ".cache" / "texts" / "a.txt", "one\n")
    splits = load_text(str(tmp_path / ".cache" / "texts"), validation_fraction=0)
    assert splits.train == "one\n"


def test_a_glob_takes_what_it_matches(tmp_path):
    for name in ("a.txt", "b.md", "deep/er/c.txt"):
        write(tmp_path / name, name + "\n")
    splits = load_text(f"{tmp_path}/**/*.txt", validation_fraction=0)
    assert splits.train == "a.txt\ndeep/er/c.txt\n"


@pytest.mark.parametrize("word", ["valid", "validation", "val", "dev"])
def test_names_of_splits_are_heeded(tmp_path, word):
    for split in ("train", word, "test"):
        write(tmp_path / f"ptb.{split}.txt", f"this is {split}\n")
    splits = load_text(str(tmp_path), validation_fraction=0.5)
    assert splits == ("this is train\n", f"this is {word}\n", "this is test\n")
    splits = load_text(str(tmp_path), max_chars=6)
    assert splits == ("this i",) * 3


def test_without_a_validation_file_names_are_not_splits(tmp_path):
    for name in ("train.txt", "test.txt", "trainer.txt"):
        write(tmp_path / name, name + "\n")
    splits = load_text(str(tmp_path), validation_fraction=0)
    assert splits.train == "test.txt\ntrain.txt\ntrainer.txt\n"


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "a.txt", "old\n")
    assert load_text(path, validation_fraction=0).train == "old\n"
    write(tmp_path / "a.txt", "new text\n")
    assert load_text(path, validation_fraction=0).train == "new text\n"


def test_windows_line_ends_become_line_feeds(tmp_path):
    text = b"one\r\ntwo\r\n"
    for name in ("a.txt", "a.txt.gz"):
        assert load_text(write(tmp_path / name, text), validation_fraction=0).train == "one\ntwo\n"


def test_the_standard_library_is_the_same_every_time():
    splits = load_text("stdlib", max_chars=5000, validation_fraction=0.1)
    assert list(map(len, splits)) == [4500, 500, 0]
    assert splits == load_text("stdlib", max_chars=5000, validation_fraction=0.1)
    assert "import" in splits.train


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "the training text is empty"),
        ("blank.txt", b" \n\n", "the training text is empty"),
        ("binary.txt", b"ab\0cd" * 10, "is binary, not text"),
        ("latin.txt", "h\xe9llo ".encode("latin-1") * 9, "cannot read it as UTF-8 text"),
        ("latin.txt.gz", "h\xe9llo ".encode("latin-1") * 9, "cannot read it as UTF-8 text"),
    ],
)
def test_files_that_are_not_text_are_refused_by_name(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message) as caught:
        load_text(write(tmp_path / name, content))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_gzip_file_is_refused(tmp_path):
    long = gzip.compress(np.random.default_rng(0).integers(32, 127, 200_000, np.uint8).tobytes())
    for content in (b"not gzip at all", gzip.compress(LINES.encode())[:40], long[:150_000]):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.gz"):
            load_text(str(tmp_path / "a.gz"))


@pytest.mark.parametrize("source", ["nowhere/at/all", "*.nothing", ""])
def test_missing_paths_are_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt")
    with pytest.raises(InputError, match="no such file, directory or glob"):
        load_text(source)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"validation_fraction": 1.0}, "1.0"),
        ({"validation_fraction": -0.1}, "-0.1"),
        ({"test_fraction": float("nan")}, "nan"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "0.5"),
        ({"max_chars": -1}, "-1"),
    ],
)
def test_bad_numbers_are_refused(tmp_path, arguments, value):
    name = next(iter(arguments))
    with pytest.raises(InputError, match=rf"{name}.* {value}"):
        load_text(write(tmp_path / "a.txt"), **arguments)


@pytest.mark.parametrize("name", ["", "a/b/c/d", "a//b", "no such name", "no such/name"])
def test_bad_hub_names_are_refused(name):
    with pytest.raises(InputError, match=f"^data=hf:{name}: ") as caught:
        load_text(f"hf:{name}")
    assert "\n" not in str(caught.value)


def test_a_hub_data_set_is_read_by_its_splits_and_text_column(monkeypatch):
    asked = []

    def fake(path, config):
        asked.append((path, config))
        if config is None:
            raise ValueError("unknown data set\nlong story")
        rows = {"id": [1, 2], "title": ["x", "y"], "text": [f"{path} one", "two\n"]}
        return {k: datasets.Dataset.from_dict(rows) for k in ("train", "validation", "extra")}

    monkeypatch.setattr(datasets, "load_dataset", fake)
    text = "owner/name one\ntwo\n"
    assert load_text("hf:owner/name/raw") == (text, text, "")
    assert asked == [("owner/name", "raw")]
    # Two parts may be OWNER/NAME or NAME/CONFIG.
    assert load_text("hf:name/raw").train == "name one\ntwo\n"
    assert asked[1:] == [("name/raw", None), ("name", "raw")]
    with pytest.raises(InputError, match=r"cannot load it \(unknown data set\)\.$"):
        load_text("hf:name")


def test_a_hub_data_set_without_text_is_refused(monkeypatch):
    table = datasets.Dataset.from_dict({"label": [0, 1]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: {"train": table})
    with pytest.raises(InputError, match=r"^the data set has no text column, only \['label'\]"):
        load_text("hf:numbers")


@pytest.mark.parametrize("byte", [b"\0", b"a"])
@pytest.mark.parametrize("ending", [".txt.gz", ".json.gz"])
def test_a_bomb_is_refused_soon_and_in_little_memory(byte, ending, tmp_path):
    """2 GB; the time and the memory do not grow with it."""
    path = tmp_path / f"bomb{ending}"
    one = gzip.compress(byte * (64 << 20), 9)
    path.write_bytes(one * 32)  # members that are unpacked one after the other
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    reads = (load_text, str(path)) if ending == ".txt.gz" else (read_json, path)
    with pytest.raises(InputError, match=r"unpacks to more than 100 times|is binary"):
        reads[0](reads[1])
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10  # KiB


def test_pieces_cut_neither_characters_nor_line_ends(tmp_path, monkeypatch):
    text = "é漢\r\n\r𝄞\n" * 20
    for module in (text_module, text_files):
        monkeypatch.setattr(module, "PIECE", 3)
    for name in ("a.txt", "a.txt.gz"):
        path = write(tmp_path / name, text)
        expected = text.replace("\r\n", "\n").replace("\r", "\n")
        assert "".join(load_text(path)) == expected
        for most in (1, 7, 50):
            assert "".join(load_text(path, max_chars=most)) == expected[:most]


def test_what_a_run_writes_is_left_out(tmp_path):
    write(tmp_path / "a.txt", "text\n")
    alone = load_text(str(tmp_path), leave_out=tmp_path / "run")
    write(tmp_path / "run" / "checkpoints" / "0", b"\0")
    write(tmp_path / "run" / "metrics.jsonl", "{}\n")
    with pytest.raises(InputError, match="is binary"):
        load_text(str(tmp_path))
    for source in (tmp_path, f"{tmp_path}/**/*"):
        assert load_text(str(source), leave_out=str(tmp_path / "run")) == alone


def test_a_test_split_alone_stays_one(tmp_path):
    """The validation text is cut from the training text, and nothing else; where every name tells a split."""
    for split, text in (("train", "a" * 80 + "b" * 20), ("test", "zz")):
        write(tmp_path / f"set.{split}.txt", text)
    splits = load_text(str(tmp_path), validation_fraction=0.2, test_fraction=0.3)
    assert splits == ("a" * 80, "b" * 20, "zz")
    with pytest.raises(InputError, match="has files of several splits"):
        list(stream_text(str(tmp_path)))


def test_of_the_hub_too(monkeypatch):
    monkeypatch.setattr(
        "seqjax.data.text._load_hub", lambda name: {"train": "a" * 80 + "b" * 20, "test": "zz"}
    )
    assert load_text("hf:some", validation_fraction=0.2) == ("a" * 80, "b" * 20, "zz")


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9")
    assert load_text(str(tmp_path / "a.txt"), validation_fraction=0).train == "café"
    assert text_files.read_text(tmp_path / "a.txt", 100) == "café"
