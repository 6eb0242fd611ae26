"""Whole models as graphs of ONNX."""

from typing import Any

import numpy as np

from seqjax.errors import InputError
from seqjax.interop.onnx.arrays import library
from seqjax.interop.onnx.writing import Builder, to_onnx
from seqjax.interop.weights import Layers


def language_model_to_onnx(model: Any, cell: str) -> Any:
    """A whole `LanguageModel` as a graph: `tokens` [T, B] int64 and initial states to `logits` [T, B, V].

    Args:
      model: of plain layers of one cell and size.
      cell: the name of that cell, one of OPERATORS.

    Returns:
      An `onnx.ModelProto`: inputs tokens, initial_h (and initial_c), outputs logits, final_h (and final_c),
      states [L, B, H].

    Raises:
      InputError: if ONNX has no such cell, or the layers are joined otherwise than one above the other.
    """
    onnx = library()
    if model.bidirectional or model.connections != "plain":
        raise InputError("only plain layers of one direction can be written as a language model.")
    if len({layer.output_size for layer in model.layers}) != 1:
        raise InputError("only layers of one size can be written as a language model.")
    layers = Layers(cell, tuple((layer.arrays(),) for layer in model.layers))
    inner = to_onnx(layers, states=True)
    table = np.asarray(model.embedding.embedding.get_value(), np.float32)
    builder = Builder(onnx)
    builder.constant("table", table)
    tied = model.tie_weights
    builder.constant(
        "kernel", table.T if tied else np.asarray(model.head.kernel.get_value(), np.float32)
    )
    bias = model.head_bias if tied else model.head.bias
    builder.constant("bias", np.asarray(bias.get_value(), np.float32))
    builder.node("Gather", ["table", "tokens"], ["x"], axis=0)
    builder.nodes += inner.graph.node
    builder.constants += inner.graph.initializer
    builder.node("MatMul", ["y", "kernel"], ["products"])
    builder.node("Add", ["products", "bias"], ["logits"])
    builder.input("tokens", ["T", "B"], onnx.TensorProto.INT64)
    builder.inputs += [value for value in inner.graph.input if value.name != "x"]
    builder.output("logits", ["T", "B", len(table)])
    builder.outputs += [value for value in inner.graph.output if value.name != "y"]
    return builder.model("language_model")


def classifier_to_onnx(model: Any, cell: str) -> Any:
    """A whole `SequenceClassifier` as a graph: `tokens` [T, B] int64, `lengths` [B] int32 to `logits` [B, C].

    What stands past a row's length counts for nothing, as in seqjax.

    Args:
      model: of plain layers of one cell, in one direction or both.
      cell: the name of that cell, one of OPERATORS.

    Returns:
      An `onnx.ModelProto`, checked.

    Raises:
      InputError: if ONNX has no such cell, or the layers are joined otherwise than one above the other.
    """
    onnx = library()
    stack = model.stack
    if stack.connections != "plain":
        raise InputError(f"only plain layers can be written, got {stack.connections} connections.")
    two = stack.bidirectional
    layers = Layers(
        cell,
        tuple(
            (layer.forward.arrays(), layer.backward.arrays()) if two else (layer.arrays(),)
            for layer in stack.layers
        ),
    )
    inner = to_onnx(layers, lengths=True)
    builder = Builder(onnx)
    builder.constant("table", np.asarray(model.embedding.embedding.get_value(), np.float32))
    builder.constant("kernel", np.asarray(model.head.kernel.get_value(), np.float32))
    builder.constant("bias", np.asarray(model.head.bias.get_value(), np.float32))
    builder.node("Gather", ["table", "tokens"], ["x"], axis=0)
    builder.nodes += inner.graph.node
    builder.constants += inner.graph.initializer
    _POOLED[model.pooling](builder, f"final_h_{len(stack.layers) - 1}")
    builder.node("MatMul", ["pooled", "kernel"], ["products"])
    builder.node("Add", ["products", "bias"], ["logits"])
    builder.input("tokens", ["T", "B"], onnx.TensorProto.INT64)
    builder.inputs += [value for value in inner.graph.input if value.name != "x"]
    builder.output("logits", ["B", model.head.kernel.get_value().shape[1]])
    return builder.model("classifier")


def _last(builder: Builder, final: str) -> None:
    """The final states [directions, B, H]: each direction's last step. A row of length 0 is zeros."""
    builder.node("Transpose", [final], ["by_row"], perm=[1, 0, 2])
    builder.node("Flatten", ["by_row"], ["pooled"], axis=1)


def _mean(builder: Builder, final: str) -> None:
    """The sum of y [T, B, H], which is 0 past the lengths, by the length, at least 1."""
    del final
    builder.constant("time", np.array([0], np.int64))
    builder.constant("features", np.array([1], np.int64))
    builder.constant("one", np.array(1, np.float32))
    builder.node("ReduceSum", ["y", "time"], ["sums"], keepdims=0)
    builder.node("Cast", ["lengths"], ["lengths_float"], to=builder.onnx.TensorProto.FLOAT)
    builder.node("Max", ["lengths_float", "one"], ["counts"])
    builder.node("Unsqueeze", ["counts", "features"], ["counts_column"])
    builder.node("Div", ["sums", "counts_column"], ["pooled"])


def _max(builder: Builder, final: str) -> None:
    """The maximum of y [T, B, H] over each row's steps; zeros for a row without steps."""
    del final
    for name, value in (("first", 0), ("step", 1)):
        builder.constant(name, np.array(value, np.int32))
    builder.constant("time", np.array([1], np.int64))
    builder.constant("features", np.array([-1], np.int64))
    builder.constant("lowest", np.array(-np.inf, np.float32))
    builder.constant("nothing", np.array(0, np.float32))
    builder.node("Shape", ["tokens"], ["shape"])
    builder.constant("which", np.array(0, np.int64))
    builder.node("Gather", ["shape", "which"], ["steps_long"], axis=0)
    builder.node("Cast", ["steps_long"], ["steps"], to=builder.onnx.TensorProto.INT32)
    builder.node("Range", ["first", "steps", "step"], ["times"])
    builder.node("Unsqueeze", ["times", "time"], ["times_column"])
    builder.node("Less", ["times_column", "lengths"], ["valid_rows"])
    builder.node("Unsqueeze", ["valid_rows", "features"], ["valid"])
    builder.node("Where", ["valid", "y", "lowest"], ["valid_y"])
    builder.node("ReduceMax", ["valid_y"], ["largest"], axes=[0], keepdims=0)
    builder.node("Greater", ["lengths", "first"], ["any_rows"])
    builder.node("Unsqueeze", ["any_rows", "features"], ["any"])
    builder.node("Where", ["any", "largest", "nothing"], ["pooled"])


_POOLED = {"last": _last, "mean": _mean, "max": _max}
