"""Weights of Keras 3's LSTM, GRU and SimpleRNN layers, read from files without Keras, and as lists to set.

An LSTM's gates are in one order in both. Keras has a GRU's as z, r, h where seqjax has r, z, n, and of its two rows
of biases (`reset_after=True`, the default) the second of the candidate is `b_hn`. What follows the name of a
layer in a file is `cell/vars/0, 1, 2`: kernel, recurrent kernel, bias; in both directions there are a
`forward_layer` and a `backward_layer`. Arrays do not tell activations: tanh and sigmoid are taken for granted
where a file does not say otherwise, as a `.keras` file would.
"""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.interop import keras_config
from seqjax.interop.weights import Layers, check_layers, on_device, reorder
from seqjax.types import Params

NAME = re.compile(r"(?:layers/|_layer_checkpoint_dependencies/)?(.+)/cell/vars/([012])")
CELLS_OF_KERAS = ("lstm", "gru", "gru_reset_before", "rnn")
LARGEST = 1 << 31  # bytes of a file of weights
TO_SEQJAX, TO_KERAS = (1, 0, 2), (1, 0, 2)  # gates z, r, h and r, z, n: a swap, either way


def read_keras(path: str | Path, *, reset_after: bool | None = None) -> dict[str, Layers]:
    """The recurrent layers of a `.keras` or `.weights.h5` file, by their path in it.

    Layers of each name have one layer of `Layers`; layers that are no recurrent ones are left alone. Nothing in
    the file is executed.

    Args:
      path: the file.
      reset_after: as of `from_keras`; a `.keras` file says it itself.

    Raises:
      InputError: if the file cannot be read, a layer's arrays do not fit, or a `.keras` file says that a
        layer has other activations, goes backwards, or joins its directions otherwise than side by side.
    """
    path = Path(path).expanduser()
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, array in _arrays(path).items():
        match = NAME.fullmatch(name)
        assert match is not None  # `_arrays` takes no others
        found.setdefault(match[1], {})[int(match[2])] = array
    if not found:
        raise InputError(f"{path} holds no recurrent layer: no array NAME/cell/vars/0.")
    if path.suffix == ".keras":
        reset_after = keras_config.checked(path, reset_after)
    cells = {
        name: from_keras([arrays[k] for k in sorted(arrays)], name, reset_after=reset_after)
        for name, arrays in found.items()
    }
    layers: dict[str, Layers] = {}
    for name, layer in cells.items():
        whole, _, side = name.rpartition("/")
        if side == "backward_layer":
            continue
        if side != "forward_layer":
            layers[name] = layer
            continue
        other = cells.get(f"{whole}/backward_layer")
        if other is None or other.cell != layer.cell:
            raise InputError(
                f"{whole} in {path} has no backward_layer that fits its forward_layer."
            )
        layers[whole] = Layers(layer.cell, ((*layer.params[0], *other.params[0]),))
    return layers


def from_keras(
    weights: list[Any], name: str = "the layer", *, reset_after: bool | None = None
) -> Layers:
    """The one layer of `layer.get_weights()`: kernel, recurrent kernel, and bias if it has one.

    Args:
      weights: the arrays.
      name: for messages.
      reset_after: of a GRU without a bias, whose arrays do not tell; Keras' default is True.

    Raises:
      InputError: if the arrays are not of shapes that fit, or `reset_after` is missing.
    """
    arrays = [np.asarray(a) for a in weights]
    if len(arrays) not in (2, 3) or arrays[0].ndim != 2 or arrays[1].ndim != 2:
        shapes = [a.shape for a in arrays]
        raise InputError(f"{name} must have a kernel, a recurrent kernel and a bias, got {shapes}.")
    w, u = arrays[:2]
    hidden, columns = u.shape
    gates = columns // hidden if hidden else 0
    if gates not in (4, 3, 1) or columns != gates * hidden or w.shape[1] != columns:
        raise InputError(
            f"{name} has kernels of shapes {w.shape} and {u.shape}: not those of an LSTM, GRU or RNN."
        )
    if len(arrays) == 2 and gates == 3 and reset_after is None:
        raise InputError(
            f"{name} is a GRU without a bias: say reset_after=True, which is Keras' default, or False."
        )
    two_rows = gates == 3 and reset_after
    b = arrays[2] if len(arrays) == 3 else np.zeros((2, columns) if two_rows else columns, w.dtype)
    wanted = (columns,), (2, columns)
    if b.shape not in wanted[: 2 if gates == 3 else 1]:
        raise InputError(f"the bias of {name} must have a shape of {wanted}, got {b.shape}.")
    kind = {4: "lstm", 1: "rnn"}.get(gates, "gru" if b.ndim == 2 else "gru_reset_before")
    layers = Layers(kind, ((on_device(_params(kind, w, u, b, hidden)),),))
    check_layers(layers, CELLS_OF_KERAS, "Keras")
    return layers


def _params(kind: str, w: np.ndarray, u: np.ndarray, b: np.ndarray, hidden: int) -> Params:
    if kind in ("lstm", "rnn"):
        return {"w": w, "u": u, "b": b}
    w, u, b = (reorder(a, TO_SEQJAX) for a in (w, u, b))
    if kind == "gru_reset_before":
        return {"w": w, "u": u[:, : 2 * hidden], "u_n": u[:, 2 * hidden :], "b": b}
    both = b[0] + np.concatenate([b[1, : 2 * hidden], np.zeros(hidden, b.dtype)])
    return {"w": w, "u": u, "b": both, "b_hn": b[1, 2 * hidden :]}


def to_keras(layers: Layers) -> list[list[np.ndarray]]:
    """What to give `layer.set_weights` of each Keras layer; of both directions, all six arrays.

    Raises:
      InputError: if Keras has no such cell.
    """
    check_layers(layers, CELLS_OF_KERAS, "Keras")
    return [
        [a for params in directions for a in _arrays_of(layers.cell, params)]
        for directions in layers.params
    ]


def _arrays_of(kind: str, params: Params) -> list[np.ndarray]:
    w, u, b = (np.asarray(params[name]) for name in ("w", "u", "b"))
    if kind in ("lstm", "rnn"):
        return [w, u, b]
    if kind == "gru_reset_before":
        u = np.concatenate([u, np.asarray(params["u_n"])], axis=1)
        return [reorder(a, TO_KERAS) for a in (w, u, b)]
    b_hn = np.asarray(params["b_hn"])
    second = np.concatenate([np.zeros(2 * len(b_hn), b.dtype), b_hn])
    return [reorder(a, TO_KERAS) for a in (w, u, np.stack([b, second]))]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file of weights, by its path."""
    try:
        import h5py
    except ImportError:
        raise InputError("files of Keras need h5py: pip install h5py.") from None
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST:,} bytes.")
        source: Any = path
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                weights = archive.getinfo("model.weights.h5")
                if weights.file_size > LARGEST:
                    raise InputError(f"the weights in {path} are larger than {LARGEST:,} bytes.")
                source = io.BytesIO(archive.read(weights))
        arrays: dict[str, np.ndarray] = {}
        with h5py.File(source, "r") as file:

            def visit(name: str, node: Any) -> None:
                # Only numbers that stand in the file itself: no links to other files, no objects.
                if not NAME.fullmatch(name) or not isinstance(node, h5py.Dataset):
                    return
                if node.dtype.kind != "f" or node.external or node.is_virtual:
                    raise InputError(f"{name} in {path} is no array of floats that stands there.")
                if node.nbytes + sum(array.nbytes for array in arrays.values()) > LARGEST:
                    raise InputError(f"{name} in {path} claims {node.nbytes:,} bytes.")
                arrays[name] = node[()]

            file.visititems(visit)
        return arrays
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read as weights of Keras: {shown(str(error))}"
        ) from None
