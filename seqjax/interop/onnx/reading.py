"""The recurrent nodes of a graph of ONNX, whoever wrote it."""

from pathlib import Path
from typing import Any

import numpy as np

from seqjax.errors import InputError, reason, shown
from seqjax.interop.onnx.arrays import OPERATORS, from_arrays, library
from seqjax.interop.weights import Layers, check_layers, on_device

LARGEST = 1 << 31  # bytes of a file, and of what its arrays say that they hold


def from_onnx(model: Any) -> dict[str, Layers]:
    """The LSTM, GRU and RNN nodes of a model, by name; each is one layer.

    Args:
      model: an `onnx.ModelProto`, or the path of a file.

    Raises:
      InputError: if the file cannot be read, keeps arrays in other files, or a node has weights that are
        computed, or attributes that no cell of seqjax has: clip, other activations, batch-major layout, one
        reversed direction.
    """
    onnx = library()
    if isinstance(model, (str, Path)):
        model = _read(onnx, Path(model).expanduser())
    constants = {a.name: a for a in model.graph.initializer}
    found: dict[str, Layers] = {}
    for number, node in enumerate(model.graph.node):
        if node.op_type in ("LSTM", "GRU", "RNN") and node.domain in ("", "ai.onnx"):
            name = node.name or f"{node.op_type}_{number}"
            try:
                found[name] = _layers_of(onnx, name, node, constants)
            except InputError:
                raise
            except Exception as error:  # whatever a stranger's attributes and arrays lead to
                raise InputError(f"{name} cannot be read: {reason(error)}.") from None
    if not found:
        raise InputError("the ONNX graph has no LSTM, GRU or RNN node.")
    return found


def _read(onnx: Any, path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST:,} bytes.")
        # Arrays in other files are not followed, wherever they are.
        return onnx.load(path, load_external_data=False)
    except InputError:
        raise
    except Exception as error:  # protobuf has errors of its own
        raise InputError(f"{path} cannot be read as ONNX: {shown(str(error))}") from None


def _array(onnx: Any, tensor: Any) -> np.ndarray:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise InputError(
            f"{tensor.name} is kept in another file; save the model with its arrays in itself"
            " (onnx.save(..., save_as_external_data=False))."
        )
    return onnx.numpy_helper.to_array(tensor)


def _layers_of(onnx: Any, name: str, node: Any, constants: dict[str, Any]) -> Layers:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    direction = attributes.get("direction", b"forward").decode()
    activations = [a.decode().lower() for a in attributes.get("activations", [])]
    usual = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
    if direction not in ("forward", "reverse", "bidirectional"):
        raise InputError(f"{name} has direction={shown(direction)}, which ONNX has not.")
    count = 2 if direction == "bidirectional" else 1
    cell = {"LSTM": "lstm", "GRU": "gru_reset_before", "RNN": "rnn"}[node.op_type]
    if node.op_type == "RNN" and set(activations) == {"relu"}:
        cell = "rnn_relu"
    elif activations not in ([], usual[node.op_type] * count):
        raise InputError(f"{name} has the activations {activations}, which no cell of seqjax has.")
    for forbidden in ("clip", "layout"):
        if attributes.get(forbidden):
            raise InputError(
                f"{name} has {forbidden}={attributes[forbidden]}, which seqjax has not."
            )
    if direction == "reverse":
        raise InputError(f"{name} runs backward only: unroll it with reverse=True by its weights.")
    if attributes.get("linear_before_reset"):
        cell = "gru"
    inputs = [*node.input, *[""] * 8]
    arrays = {
        key: _array(onnx, constants[inputs[i]]) if inputs[i] in constants else None
        for key, i in (("W", 1), ("R", 2), ("B", 3), ("P", 7))
    }
    if arrays["W"] is None or arrays["R"] is None or (inputs[3] and arrays["B"] is None):
        raise InputError(f"the weights of {name} are no constants of the graph.")
    has_peepholes = node.op_type == "LSTM" and bool(inputs[7])
    if has_peepholes and arrays["P"] is None:
        raise InputError(f"the peepholes of {name} are no constants of the graph.")
    for key, array in arrays.items():
        if array is not None and array.shape[:1] != (count,):
            raise InputError(
                f"{name} is {direction}, and its {key} has shape {array.shape}: it must begin with {count}."
            )
    coupled = bool(attributes.get("input_forget"))
    if coupled and not has_peepholes:
        raise InputError(
            f"{name} couples its gates without peepholes, which no cell of seqjax does."
        )
    if has_peepholes:
        cell = "lstm_cifg" if coupled else "lstm_peephole"
    directions = tuple(
        on_device(from_arrays(name, cell, {k: a if a is None else a[d] for k, a in arrays.items()}))
        for d in range(count)
    )
    layers = Layers(cell, (directions,))
    check_layers(layers, tuple(OPERATORS), "ONNX")
    return layers
