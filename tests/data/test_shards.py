"""Text in shards: what is read is what was written, and batches are those of a text in memory."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.data.batches import batch_at, training_rows
from seqjax.data.shards import MANIFEST, Shards, Windows, piece_batch, write_shards
from seqjax.data.text import load_text, stream_text
from seqjax.devices.mesh import batch_mesh
from seqjax.errors import InputError, RunError
from seqjax.training.place import place_piece


def pieces_of(text, size=7):
    return lambda: [text[i : i + size] for i in range(0, len(text), size)]


@pytest.fixture
def text():
    rng = np.random.default_rng(0)
    return "".join(rng.choice(list("abc dé\U0001f600\n"), 1000))


@pytest.mark.parametrize("shard_tokens", [1, 64, 1000, 10_000])
def test_any_part_is_what_was_written(text, tmp_path, shard_tokens):
    shards = write_shards(pieces_of(text), tmp_path / "out", shard_tokens=shard_tokens)
    assert len(shards) == len(text)
    for start, stop in [(0, 1000), (63, 65), (999, 1000), (0, 0), (128, 900)]:
        assert shards.vocabulary.decode(shards.read(start, stop)) == text[start:stop]
    shards.check()
    files = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".bin"]
    assert len(files) == -(-1000 // shard_tokens)


def test_numbers_take_as_few_bytes_as_they_can(tmp_path):
    for count, width in [(255, 1), (256, 2), (65_535, 2), (65_536, 4)]:
        text = "".join(
            map(
                chr,
                itertools.islice(
                    filter(lambda p: not 0xD800 <= p < 0xE000, itertools.count(1)), count
                ),
            )
        )
        folder = tmp_path / str(count)
        shards = write_shards(pieces_of(text, 1000), folder)
        assert (folder / "tokens-00000.bin").stat().st_size == count * width
        np.testing.assert_array_equal(shards.read(0, count), range(1, count + 1))


@pytest.mark.parametrize(("batch", "steps"), [(1, 5), (4, 10), (6, 3)])
def test_batches_are_those_of_a_text_in_memory(text, tmp_path, batch, steps):
    """Also over the end of the text, and where devices share a batch."""
    shards = write_shards(pieces_of(text), tmp_path / "out", shard_tokens=100)
    tokens = 950  # the rest is held out
    windows = Windows(shards, tokens, batch, steps)
    rows = training_rows(shards.read(0, tokens), batch, steps)
    assert windows.per_epoch == rows.inputs.shape[1] // steps
    meshes = [batch_mesh(1)] + ([batch_mesh(2)] if batch % 2 == 0 else [])
    for mesh, (start, count) in itertools.product(
        meshes, [(0, 3), (windows.per_epoch - 2, 5), (3 * windows.per_epoch + 1, 6)]
    ):
        piece = place_piece(mesh, windows, start, count, 6)
        for step in range(start, start + count):
            found = piece_batch(piece, steps, jnp.int32(step))
            wanted = batch_at(rows, steps, step)
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(a, b)


def test_damage_is_found(text, tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(InputError, match="empty"):
        write_shards(lambda: [""], folder)
    assert not folder.exists()
    write_shards(pieces_of(text), folder, shard_tokens=400)
    with pytest.raises(InputError, match="holds shards already"):
        write_shards(pieces_of(text), folder)
    second = folder / "tokens-00001.bin"
    good = second.read_bytes()
    second.write_bytes(good[:-1])
    with pytest.raises(InputError, match="another size"):
        Shards(folder)
    second.write_bytes(bytes([255]) + good[1:])
    with pytest.raises(RunError, match="damaged"):
        Shards(folder).check()
    with pytest.raises(RunError, match="damaged"):
        Shards(folder).read(390, 410)
    second.write_bytes(good)
    manifest = json.loads((folder / MANIFEST).read_text())
    for change in (
        {"dtype": "float64"},
        {"files": []},
        {"files": [{"tokens": -1, "sha256": ""}]},
        {"files": [{"tokens": "../x", "sha256": "0" * 64}]},
        {"files": [{"tokens": 1000, "sha256": "\ud800"}]},
        {"tokens": ["a"]},
    ):
        (folder / MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(InputError):
            Shards(folder)


def test_shards_are_no_text_and_text_of_splits_is_not_joined(text, tmp_path):
    (tmp_path / "text.txt").write_text(text)
    write_shards(lambda: stream_text(str(tmp_path), leave_out=tmp_path / "out"), tmp_path / "out")
    again = "".join(stream_text(str(tmp_path), leave_out=tmp_path / "out"))
    assert again == text
    for read in (load_text, lambda source: list(stream_text(source))):
        with pytest.raises(InputError, match="is a part of shards, not text"):
            read(str(tmp_path))
    (tmp_path / "out" / MANIFEST).unlink()  # as of an attempt that was cut off
    with pytest.raises(InputError, match="is a part of shards, not text"):
        load_text(str(tmp_path / "out"))
    splits = tmp_path / "splits"
    splits.mkdir()
    for split in ("train", "valid"):
        (splits / f"some.{split}.txt").write_text(text)
    with pytest.raises(InputError, match="several splits"):
        list(stream_text(str(splits)))


def test_a_file_that_shrinks_or_goes_is_said(text, tmp_path):
    shards = write_shards(pieces_of(text), tmp_path / "out", shard_tokens=400)
    path = tmp_path / "out" / "tokens-00001.bin"
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(RunError, match="damaged"):
        shards.read(300, 700)
    path.unlink()
    with pytest.raises(RunError, match="cannot read"):
        shards.read(300, 700)
    with pytest.raises(RunError, match="cannot read"):
        shards.check()


def test_a_text_shorter_than_a_batch_is_refused(text, tmp_path):
    shards = write_shards(pieces_of(text), tmp_path / "out")
    with pytest.raises(InputError, match="needs 1001"):
        Windows(shards, 1000, 10, 100).check()
    Windows(shards, 1000, 9, 100).check()
