"""Weights of Keras layers, from their lists and from their files; and files that are none."""

import os
import zipfile

import numpy as np
import pytest

from seqjax import InputError, bidirectional, unroll
from seqjax.interop import Layers, from_keras, read_keras, to_keras
from tests.support.randomness import randomise

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

# of Keras 3 with NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

T, B, D, H = 6, 3, 4, 5
LAYERS = {
    "lstm": lambda **k: keras.layers.LSTM(H, **k),
    "gru": lambda **k: keras.layers.GRU(H, **k),
    "gru_reset_before": lambda **k: keras.layers.GRU(H, reset_after=False, **k),
    "rnn": lambda **k: keras.layers.SimpleRNN(H, **k),
}


def built(layer):
    layer.build((None, T, D))
    layer.set_weights([randomise(w, k) for k, w in enumerate(layer.get_weights())])
    return layer


@pytest.fixture
def xs():
    return np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_keras(name, xs):
    layer = built(LAYERS[name](return_sequences=True))
    found = from_keras(layer.get_weights())
    assert found.cell == name
    _, ys = unroll(found.make_cells()[0], found.params[0][0], xs.swapaxes(0, 1))
    np.testing.assert_allclose(ys.swapaxes(0, 1), layer(xs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_out_and_in_again_nothing_has_changed(name, xs):
    layer = built(LAYERS[name](return_sequences=True))
    (weights,) = to_keras(from_keras(layer.get_weights()))
    before = np.asarray(layer(xs))
    layer.set_weights(weights)  # of a GRU, two biases have become one
    np.testing.assert_allclose(layer(xs), before, rtol=1e-5, atol=1e-6)
    again = to_keras(from_keras(weights))[0]
    for a, b in zip(again, weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_files_are_read_without_keras(tmp_path, xs):
    both = keras.layers.Bidirectional(LAYERS["gru"](return_sequences=True), name="both")
    model = keras.Sequential(
        [keras.Input((T, D)), both, LAYERS["lstm"](name="top"), keras.layers.Dense(2)]
    )
    model.set_weights([randomise(w, k) for k, w in enumerate(model.get_weights())])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for path in tmp_path.iterdir():
        found = read_keras(path)
        (gru,) = [layers for layers in found.values() if layers.cell == "gru"]
        (lstm,) = [layers for layers in found.values() if layers.cell == "lstm"]
        assert gru.directions == 2
        cell = gru.make_cells()[0]
        _, ys = bidirectional((cell, cell), gru.params[0], xs.swapaxes(0, 1))
        np.testing.assert_allclose(ys.swapaxes(0, 1), both(xs), rtol=1e-5, atol=1e-6)
        state, _ = unroll(lstm.make_cells()[0], lstm.params[0][0], ys)
        hidden = model.layers[1](both(xs))
        np.testing.assert_allclose(state.h, hidden, rtol=1e-5, atol=1e-6)


def test_files_of_strangers_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read as weights of Keras"):
        read_keras(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match="cannot be read as weights of Keras"):
        read_keras(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 20)
    with pytest.raises(InputError, match="cannot be read as weights of Keras"):
        read_keras(path)
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file["layers/lstm/cell/vars/0"] = np.zeros((2, 7), np.float32)
        file["layers/lstm/cell/vars/1"] = np.zeros((2, 7), np.float32)
    with pytest.raises(InputError, match="not those of an LSTM, GRU or RNN"):
        read_keras(tmp_path / "x.weights.h5")
    with h5py.File(tmp_path / "y.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 7), np.float32)
    with pytest.raises(InputError, match="holds no recurrent layer"):
        read_keras(tmp_path / "y.weights.h5")
    with pytest.raises(InputError, match="cannot be read"):
        read_keras(tmp_path / "absent.keras")
    with pytest.raises(InputError, match="Keras has no rnn_relu"):
        to_keras(
            Layers(
                "rnn_relu", (({"w": np.zeros((1, 1)), "u": np.zeros((1, 1)), "b": np.zeros(1)},),)
            )
        )


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_without_a_bias_does_not_tell_which_it_is(reset_after, tmp_path, xs):
    how = {"reset_after": reset_after, "use_bias": False, "return_sequences": True}
    model = keras.Sequential([keras.Input((T, D)), keras.layers.GRU(H, **how)])
    model.set_weights([randomise(w, k) for k, w in enumerate(model.get_weights())])
    with pytest.raises(InputError, match="a GRU without a bias: say reset_after=True"):
        from_keras(model.get_weights())
    model.save(tmp_path / "m.keras")
    (read,) = read_keras(tmp_path / "m.keras").values()
    for layers in (read, from_keras(model.get_weights(), reset_after=reset_after)):
        _, ys = unroll(layers.make_cells()[0], layers.params[0][0], xs.swapaxes(0, 1))
        np.testing.assert_allclose(ys.swapaxes(0, 1), model(xs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (lambda: keras.layers.LSTM(H, activation="relu"), "LSTM with activation='relu'"),
        (lambda: keras.layers.GRU(H, recurrent_activation="hard_sigmoid"), "recurrent_activation"),
        (lambda: keras.layers.SimpleRNN(H, activation="relu"), "SimpleRNN with activation"),
        (lambda: keras.layers.LSTM(H, go_backwards=True), "go_backwards=True"),
        (lambda: keras.layers.RNN(keras.layers.GRUCell(H), go_backwards=True), "RNN with go_backw"),
        (lambda: keras.layers.RNN(keras.layers.LSTMCell(H, activation="relu")), "LSTMCell with"),
        (
            lambda: keras.layers.Bidirectional(keras.layers.LSTM(H), merge_mode="sum"),
            "merge_mode='sum'",
        ),
    ],
)
def test_what_a_file_says_of_other_layers_is_read(layer, says, tmp_path):
    keras.Sequential([keras.Input((T, D)), layer()]).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=says):
        read_keras(tmp_path / "m.keras")


def test_arrays_that_do_not_stand_in_a_file_are_refused(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["numbers"] = np.ones((4, 20), np.float32)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 20), np.float32)
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "numbers", (4, 20))
        file.create_virtual_dataset("layers/lstm/cell/vars/0", layout)
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("layers/lstm/cell/vars/0", (10**7, 10**7), "f4", chunks=(10, 10))
    with pytest.raises(InputError, match="no array of floats that stands there"):
        read_keras(tmp_path / "virtual.h5")
    with pytest.raises(InputError, match="claims 400,000,000,000,000 bytes"):
        read_keras(tmp_path / "huge.h5")
