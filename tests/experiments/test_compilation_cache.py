"""Compiled programs are kept: the second start compiles nothing, and no state of the folder is an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.common import compilation_cache
from experiments.common.compilation_cache import use_compilation_cache
from seqjax import InputError

ROOT = Path(__file__).parents[2]


def small_run(folder, workdir, *flags, more=None):
    """A run of char_lm in a process of its own; its metrics, and what it wrote to its error stream."""
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat. the dog ate the cat's hat. " * 40)
    sizes = ["--hidden_size=8", "--seq_len=10", "--batch_size=4", "--steps=4", "--ngram_order=1"]
    command = [sys.executable, "-m", "experiments.char_lm", f"--data={text}", "--length=5"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment |= more or {}
    done = subprocess.run(
        [*command, *sizes, f"--workdir={folder / workdir}", *flags],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / workdir / "metrics.jsonl").read_text(), done.stderr


def entries(folder):
    return sorted((folder / "cache" / "seqjax" / compilation_cache.processor()).glob("*-cache"))


@pytest.mark.whole
def test_a_second_start_compiles_nothing(tmp_path):
    """JAX says of every program that it does not find that it does not. The result is the same."""
    tell = {"JAX_EXPLAIN_CACHE_MISSES": "1"}
    (first, complaint), (second, again) = (small_run(tmp_path, name, more=tell) for name in "ab")
    assert complaint.count("COMPILATION CACHE MISS") > 5
    assert again.count("COMPILATION CACHE MISS") == 0
    assert second == first


@pytest.mark.long
@pytest.mark.parametrize("harm", ["none", "truncated", "other bytes", "emptied"])
def test_a_second_start_gives_the_same(tmp_path, harm):
    first, complaint = small_run(tmp_path, "first")
    assert complaint == ""
    kept = entries(tmp_path)
    assert any("steps" in path.name for path in kept)
    for path in kept:
        content = path.read_bytes()
        if harm == "truncated":
            path.write_bytes(content[: len(content) // 2])
        elif harm == "other bytes":
            path.write_bytes(bytes(255 - b for b in content))
        elif harm == "emptied":
            path.write_bytes(b"")
    second, complaint = small_run(tmp_path, "second")
    assert complaint == ""
    assert second == first
    assert len(entries(tmp_path)) == len(kept)


@pytest.mark.long
def test_without_it_nothing_is_kept_and_the_result_is_the_same(tmp_path):
    without, _ = small_run(tmp_path, "without", "--compilation_cache=")
    assert not (tmp_path / "cache" / "seqjax").exists()
    assert small_run(tmp_path, "with")[0] == without


@pytest.fixture
def settings(monkeypatch):
    """What JAX is told."""
    told = {}
    monkeypatch.setattr(compilation_cache.jax.config, "update", told.__setitem__)
    return told


def test_folders_that_are_not_used(tmp_path, settings, monkeypatch):
    assert use_compilation_cache("") is None
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "cannot be used: .*[Nn]ot a directory")
    refused("\0", "cannot be used: .*null byte")
    shared = use_compilation_cache(str(tmp_path / "shared"))
    assert settings.pop("jax_compilation_cache_dir") == str(shared)
    shared.chmod(0o777)
    refused(tmp_path / "shared", "others can write to it")
    monkeypatch.setattr(compilation_cache.os, "access", lambda *_: False)
    refused(tmp_path / "read_only", "it cannot be written to")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert use_compilation_cache("auto") is None  # nobody has asked for it: no error
    assert "jax_compilation_cache_dir" not in settings


def refused(folder, reason):
    with pytest.raises(InputError, match=reason):
        use_compilation_cache(str(folder))


def test_what_was_read_longest_ago_makes_room(tmp_path, settings, monkeypatch):
    folder = use_compilation_cache(str(tmp_path))
    for age in range(6):
        path = folder / f"{age}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    (folder / "empty-cache").write_bytes(b"")
    monkeypatch.setattr(compilation_cache, "LARGEST", 350)
    use_compilation_cache(str(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ["0-cache", "1-cache", "2-cache"]
