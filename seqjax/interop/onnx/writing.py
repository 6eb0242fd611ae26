"""Recurrent layers as a graph of ONNX."""

from typing import Any

import numpy as np

from seqjax.interop.onnx.arrays import ATTRIBUTES, OPERATORS, library, to_arrays
from seqjax.interop.weights import Layers, check_layers
from seqjax.types import Params

OPSET = 14


def to_onnx(layers: Layers, *, lengths: bool = False, states: bool = False) -> Any:
    """A model with inputs `x` [T, B, D] and outputs `y` [T, B, H or 2H] and `final_h`, of an LSTM `final_c` too.

    T and B are symbols. The final states are of all layers and directions, [L · directions, B, H].

    Args:
      layers: of a cell of OPERATORS.
      lengths: whether there is an input `lengths` [B] int32. A row of length 0 is zeros there, where seqjax
        returns its initial state.
      states: whether there are inputs `initial_h`, and `initial_c` of an LSTM, shaped as the final ones.

    Returns:
      An `onnx.ModelProto`, checked.

    Raises:
      InputError: if ONNX has no such cell, or onnx is not installed.
    """
    onnx = library()
    check_layers(layers, tuple(OPERATORS), "ONNX")
    builder = Builder(onnx)
    operator, size = OPERATORS[layers.cell], layers.hidden_size
    count, directions = len(layers.params), layers.directions
    parts = ("h", "c") if operator == "LSTM" else ("h",)
    builder.input("x", ["T", "B", layers.input_size])
    if lengths:
        builder.input("lengths", ["B"], onnx.TensorProto.INT32)
    slices: dict[str, list[str]] = {}
    if states:
        builder.constant("pieces", np.full(count, directions, np.int64))
        for part in parts:
            builder.input(f"initial_{part}", [count * directions, "B", size])
            slices[part] = [f"initial_{part}_{n}" for n in range(count)]
            builder.node("Split", [f"initial_{part}", "pieces"], slices[part], axis=0)
    below = "x"
    for number, of_layer in enumerate(layers.params):
        below = _layer(builder, layers.cell, number, of_layer, below, lengths, slices)
    builder.node("Identity", [below], ["y"])
    builder.output("y", ["T", "B", size * directions])
    for part in parts:
        finals = [f"final_{part}_{n}" for n in range(count)]
        builder.node("Concat", finals, [f"final_{part}"], axis=0)
        builder.output(f"final_{part}", [count * directions, "B", size])
    return builder.model("recurrent_layers")


def _layer(
    builder: "Builder",
    cell: str,
    number: int,
    of_layer: tuple[Params, ...],
    below: str,
    lengths: bool,
    slices: dict[str, list[str]],
) -> str:
    """Adds the nodes of a layer; returns the name of its output [T, B, directions · H]."""
    operator, size = OPERATORS[cell], np.shape(of_layer[0]["u"])[0]
    arrays = [to_arrays(cell, params) for params in of_layer]
    names = [f"{letter}_{number}" for letter in "WRB"]
    for name, parts in zip(names, zip(*(a[:3] for a in arrays), strict=True), strict=True):
        builder.constant(name, np.stack(parts))
    inputs = [below, *names, "lengths" if lengths else ""]
    inputs += [slices["h"][number] if slices else ""]
    outputs = [f"all_{number}", f"final_h_{number}"]
    if operator == "LSTM":
        inputs += [slices["c"][number] if slices else ""]
        outputs += [f"final_c_{number}"]
        if arrays[0][3] is not None:
            builder.constant(f"P_{number}", np.stack([a[3] for a in arrays]))
            inputs += [f"P_{number}"]
    attributes = dict(ATTRIBUTES.get(cell, {}))
    if cell == "rnn_relu":
        attributes["activations"] = ["Relu"] * len(of_layer)
    while not inputs[-1]:
        inputs.pop()
    direction = "bidirectional" if len(of_layer) == 2 else "forward"
    builder.node(operator, inputs, outputs, hidden_size=size, direction=direction, **attributes)
    # [T, directions, B, H] -> [T, B, directions · H]
    builder.node("Transpose", [f"all_{number}"], [f"turned_{number}"], perm=[0, 2, 1, 3])
    builder.constant(f"joined_{number}", np.array([0, 0, size * len(of_layer)], np.int64))
    builder.node("Reshape", [f"turned_{number}", f"joined_{number}"], [f"y_{number}"])
    return f"y_{number}"


class Builder:
    """Nodes, constants, inputs and outputs of a graph that is being written."""

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def node(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, **attributes))

    def constant(self, name: str, value: np.ndarray) -> None:
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))

    def input(self, name: str, shape: list[int | str], dtype: int | None = None) -> None:
        dtype = self.onnx.TensorProto.FLOAT if dtype is None else dtype
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, dtype, shape))

    def output(self, name: str, shape: list[int | str]) -> None:
        dtype = self.onnx.TensorProto.FLOAT
        self.outputs.append(self.onnx.helper.make_tensor_value_info(name, dtype, shape))

    def model(self, name: str) -> Any:
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        self.onnx.checker.check_model(model, full_check=True)
        return model
