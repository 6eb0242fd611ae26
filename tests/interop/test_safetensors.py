"""safetensors: bit for bit, with a config; and files that are none."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError, lstm, stack
from seqjax.interop import read_safetensors, write_safetensors
from seqjax.interop.safetensors import unflat
from tests.support.randomness import randomise

pytest.importorskip("safetensors")


def test_what_was_written_is_read_bit_for_bit(tmp_path):
    cell = stack(lstm(3), lstm(4))
    params = randomise(cell.init(jax.random.key(0), 2), 1)
    params[0]["half"] = np.asarray(jnp.arange(3, dtype=jnp.bfloat16))
    params[0]["one"] = np.asarray(3, np.float32)
    path = tmp_path / "model.safetensors"
    write_safetensors(path, params, {"cell": "lstm", "sizes": [3, 4], "ü": None})
    arrays, config = read_safetensors(path)
    assert config == {"cell": "lstm", "sizes": [3, 4], "ü": None}
    back = unflat(arrays, params)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def test_arrays_of_another_model_are_refused(tmp_path):
    params = lstm(3).init(jax.random.key(0), 2)
    path = tmp_path / "model.safetensors"
    write_safetensors(path, params, {})
    arrays, _ = read_safetensors(path)
    with pytest.raises(InputError, match="the file has no c"):
        unflat(arrays, {**params, "c": params["b"]})
    with pytest.raises(InputError, match="the file has b, which nothing asks for"):
        unflat(arrays, {"u": params["u"], "w": params["w"]})
    with pytest.raises(InputError, match=r"b must be float32 of shape \(16,\)"):
        unflat(arrays, {**params, "b": jnp.zeros(16)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 1 << 30) + b"{}",  # a header of a gigabyte, which is not there
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 60)
        + json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode(),
        b"\x80\x04\x95pickled",
    ],
)
def test_files_of_strangers_are_refused_in_a_sentence(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        read_safetensors(path)


def test_a_config_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": np.zeros(1)}, [1])
    with pytest.raises(InputError, match="must be a JSON object"):
        read_safetensors(path)
