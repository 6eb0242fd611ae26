"""Files of ours in a directory where somebody has laid links and pipes."""

import os
import signal

import pytest

from experiments.common import plots
from seqjax.errors import RunError
from seqjax.files.json import write_json
from seqjax.files.writing import (
    append,
    make_folder,
    make_new,
    open_to_append,
    remove_partial,
    start_file,
    write_atomically,
    write_bytes,
)


def draw(path):
    plots.curve(path, {"a": ([1, 2], [3, 4])}, xlabel="x", ylabel="y", title="t")


WRITERS = {
    "text": lambda path: write_atomically(path, "new"),
    "bytes": lambda path: write_bytes(path, b"new"),
    "json": lambda path: write_json(path, {"new": 1}),
    "rows": lambda path: start_file(path, "new").close(),
    "curve": draw,
}
TRAPS = {
    "link": lambda path, precious: path.symlink_to(precious),
    "hard link": lambda path, precious: path.hardlink_to(precious),
    "pipe": lambda path, precious: os.mkfifo(path),
    "link to nothing": lambda path, precious: path.symlink_to(precious.with_name("none")),
}


@pytest.fixture
def alarm():
    """What hangs fails."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hangs"))
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("place", ["a.json", "a.json.partial"])
@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_through_a_trap(writer, trap, place, tmp_path, alarm):
    precious, run = tmp_path / "precious", tmp_path / "run"
    precious.write_text("kept")
    run.mkdir()
    TRAPS[trap](run / place, precious)
    WRITERS[writer](run / "a.json")
    assert precious.read_text() == "kept"
    assert (run / "a.json").is_file()
    assert not (run / "a.json").is_symlink()
    assert len((run / "a.json").read_bytes()) >= 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["precious", "run"]
    assert {p.name for p in run.iterdir()} == {"a.json", place}


@pytest.mark.parametrize("trap", ["link", "pipe", "link to nothing"])
def test_a_log_is_not_appended_to_a_trap(trap, tmp_path, alarm):
    (tmp_path / "precious").write_text("kept")
    TRAPS[trap](tmp_path / "log", tmp_path / "precious")
    with pytest.raises(OSError, match=r"."):
        open_to_append(tmp_path / "log")
    assert (tmp_path / "precious").read_text() == "kept"


def test_folders_are_real(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (tmp_path / "file").write_text("")
    make_folder(tmp_path / "new")
    make_folder(tmp_path / "new")
    for name, reason in (("link", "it is a link"), ("file", "Not a directory")):
        with pytest.raises(NotADirectoryError, match=reason):
            make_folder(tmp_path / name)
    for name in ("link", "file", "new"):
        with pytest.raises(FileExistsError):
            make_new(tmp_path / name)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "linked"])
def test_rows_for_a_file_that_is_gone_are_an_error(how, tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "rows.jsonl"
    with start_file(path, "1\n") as file:
        append(file, "2\n")
        assert path.read_text() == "1\n2\n"
        if how in ("removed", "replaced", "linked"):
            path.unlink()
        if how == "replaced":
            path.write_text("other")
        if how == "linked":
            (tmp_path / "precious").write_text("kept")
            path.symlink_to(tmp_path / "precious")
        if how == "moved":
            (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(RunError, match=r"rows\.jsonl was removed, moved or replaced"):
            append(file, "3\n")


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    ours = tmp_path / ".0123456789abcdef.partial"
    ours.write_text("half")
    others = [tmp_path / name for name in ("a.partial", ".0123.partial", "notes", ".b.partial")]
    for path in others:
        path.write_text("kept")
    remove_partial(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    remove_partial(tmp_path / "none")
