"""MNIST's format: read back what was written, and one sentence for what is not of it."""

import gzip

import numpy as np
import pytest

from seqjax import InputError
from seqjax.data.sets.idx import load_idx, read_idx


def write(path, array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for start, count in (("train", 7), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 4, 6)).astype(np.uint8)
        write(tmp_path / f"{start}-images-idx3-ubyte.gz", images)
        write(tmp_path / f"{start}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    return tmp_path


def test_reads_what_was_written(folder):
    splits = load_idx(folder)
    assert splits.train.pixels.shape == (7, 4, 6)
    assert splits.test.labels.tolist() == [0, 1, 2]
    expected = np.random.default_rng(0).integers(0, 256, (7, 4, 6))
    np.testing.assert_array_equal(splits.train.pixels, expected)


def test_what_is_not_of_the_format_is_refused(folder):
    labels = folder / "train-labels-idx1-ubyte"
    write(labels, np.arange(6, dtype=np.uint8))
    with pytest.raises(InputError, match="7 images but 6 labels"):
        load_idx(folder)
    labels.write_bytes(b"\0\0\x08\x01\x7f\xff\xff\xff")
    with pytest.raises(InputError, match="has 0 bytes after that"):
        read_idx(labels, axes=1)
    labels.write_bytes(b"no images")
    with pytest.raises(InputError, match="is no IDX file of bytes with 1 axes"):
        read_idx(labels, axes=1)
    labels.unlink()
    with pytest.raises(InputError, match="holds neither train-labels-idx1-ubyte nor"):
        load_idx(folder)


def test_mnist_itself(data_dir):
    splits = load_idx(data_dir / "mnist")
    assert splits.train.pixels.shape == (60_000, 28, 28)
    assert np.bincount(splits.test.labels)[:3].tolist() == [980, 1135, 1032]
