"""ONNX's LSTM, GRU and RNN nodes, written and read with `onnx` alone; whole models as graphs of them.

Gates are in the orders i o f c and z r h there. A node holds one layer in one or both directions; what stands
between layers is a transposition. Nothing of a graph is executed when it is read.
"""

from pathlib import Path
from typing import Any

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.interop.weights import Layers, check_layers, on_device, reorder
from seqjax.types import Params

OPSET = 14
LARGEST = 1 << 31  # bytes of a file, and of what its arrays say that they hold
OPERATORS = {
    "lstm": "LSTM",
    "lstm_peephole": "LSTM",
    "lstm_cifg": "LSTM",
    "gru": "GRU",
    "gru_reset_before": "GRU",
    "rnn": "RNN",
    "rnn_relu": "RNN",
}
ORDERS = {  # the place in seqjax of each of ONNX's gates
    "lstm": (0, 3, 1, 2),
    "lstm_peephole": (0, 3, 1, 2),
    "gru": (1, 0, 2),
    "gru_reset_before": (1, 0, 2),
    "rnn": (0,),
    "rnn_relu": (0,),
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "lstm_cifg": {"input_forget": 1},
    "gru": {"linear_before_reset": 1},
    "gru_reset_before": {"linear_before_reset": 0},
}


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
    onnx = _library()
    check_layers(layers, tuple(OPERATORS), "ONNX")
    builder = _Builder(onnx)
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
    builder: "_Builder",
    cell: str,
    number: int,
    of_layer: tuple[Params, ...],
    below: str,
    lengths: bool,
    slices: dict[str, list[str]],
) -> str:
    """Adds the nodes of a layer; returns the name of its output [T, B, directions · H]."""
    operator, size = OPERATORS[cell], np.shape(of_layer[0]["u"])[0]
    arrays = [_to_arrays(cell, params) for params in of_layer]
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


def _to_arrays(cell: str, params: Params) -> tuple[Any, ...]:
    """W [G·H, D], R [G·H, H], B [2·G·H] and P [3·H] or None, of one direction."""
    values = {name: np.asarray(value, np.float32) for name, value in params.items()}
    w, u, b = values["w"], values["u"], values["b"]
    b_hidden = np.zeros_like(b)
    if cell == "gru_reset_before":
        u = np.concatenate([u, values["u_n"]], axis=1)
    if cell == "gru":
        b_hidden[-len(values["b_hn"]) :] = values["b_hn"]
    if cell == "lstm_cifg":  # its forget gate is made of the input gate: the f of ONNX is not read
        w, u, b, b_hidden = (_with_forget_gate(a) for a in (w, u, b, b_hidden))
        order = ORDERS["lstm"]
    else:
        order = ORDERS[cell]
    peepholes = None
    if "p_i" in values:
        p_f = values.get("p_f", np.zeros_like(values["p_i"]))
        peepholes = np.concatenate([values["p_i"], values["p_o"], p_f])
    biases = np.concatenate([reorder(b, order), reorder(b_hidden, order)])
    return reorder(w, order).T, reorder(u, order).T, biases, peepholes


def _with_forget_gate(array: np.ndarray) -> np.ndarray:
    """Zeros for f between i and g."""
    i, g, o = np.split(array, 3, axis=-1)
    return np.concatenate([i, np.zeros_like(i), g, o], axis=-1)


def from_onnx(model: Any) -> dict[str, Layers]:
    """The LSTM, GRU and RNN nodes of a model, by name; each is one layer.

    Args:
      model: an `onnx.ModelProto`, or the path of a file.

    Raises:
      InputError: if the file cannot be read, keeps arrays in other files, or a node has weights that are
        computed, or attributes that no cell of seqjax has: clip, other activations, batch-major layout, one
        reversed direction.
    """
    onnx = _library()
    if isinstance(model, (str, Path)):
        model = _read(onnx, Path(model).expanduser())
    constants = {a.name: _array(onnx, a) for a in model.graph.initializer}
    found: dict[str, Layers] = {}
    for number, node in enumerate(model.graph.node):
        if node.op_type in ("LSTM", "GRU", "RNN") and node.domain in ("", "ai.onnx"):
            name = node.name or f"{node.op_type}_{number}"
            found[name] = _layers_of(onnx, name, node, constants)
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


def _layers_of(onnx: Any, name: str, node: Any, constants: dict[str, np.ndarray]) -> Layers:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    direction = attributes.get("direction", b"forward").decode()
    activations = [a.decode().lower() for a in attributes.get("activations", [])]
    usual = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
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
    arrays = {key: constants.get(inputs[i]) for key, i in (("W", 1), ("R", 2), ("B", 3), ("P", 7))}
    if arrays["W"] is None or arrays["R"] is None or (inputs[3] and arrays["B"] is None):
        raise InputError(f"the weights of {name} are no constants of the graph.")
    has_peepholes = node.op_type == "LSTM" and bool(inputs[7])
    if has_peepholes and arrays["P"] is None:
        raise InputError(f"the peepholes of {name} are no constants of the graph.")
    coupled = bool(attributes.get("input_forget"))
    if coupled and not has_peepholes:
        raise InputError(
            f"{name} couples its gates without peepholes, which no cell of seqjax does."
        )
    if has_peepholes:
        cell = "lstm_cifg" if coupled else "lstm_peephole"
    directions = tuple(
        on_device(
            _from_arrays(name, cell, {k: a if a is None else a[d] for k, a in arrays.items()})
        )
        for d in range(count)
    )
    layers = Layers(cell, (directions,))
    check_layers(layers, tuple(OPERATORS), "ONNX")
    return layers


def _from_arrays(name: str, cell: str, arrays: dict[str, Any]) -> Params:
    w, r = arrays["W"].T, arrays["R"].T
    hidden, columns = r.shape
    order = ORDERS["lstm" if cell == "lstm_cifg" else cell]
    if columns != len(order) * hidden or w.shape[1] != columns:
        raise InputError(
            f"{name} has W {arrays['W'].shape} and R {arrays['R'].shape}, which do not fit."
        )
    b = arrays["B"] if arrays["B"] is not None else np.zeros(2 * columns, np.float32)
    back = tuple(order.index(place) for place in range(len(order)))
    w, u, b_input, b_hidden = (reorder(a, back) for a in (w, r, b[:columns], b[columns:]))
    if cell == "gru":
        both = b_input + np.concatenate([b_hidden[: 2 * hidden], np.zeros(hidden, b.dtype)])
        return {"w": w, "u": u, "b": both, "b_hn": b_hidden[2 * hidden :]}
    b = b_input + b_hidden
    if cell == "gru_reset_before":
        return {"w": w, "u": u[:, : 2 * hidden], "u_n": u[:, 2 * hidden :], "b": b}
    params = {"w": w, "u": u, "b": b}
    if cell == "lstm_cifg":
        params = {
            key: np.delete(np.stack(np.split(a, 4, -1), -2), 1, -2) for key, a in params.items()
        }
        params = {key: a.reshape(*a.shape[:-2], -1) for key, a in params.items()}
    if cell in ("lstm_peephole", "lstm_cifg"):
        p_i, p_o, p_f = np.split(arrays["P"], 3)
        params |= {"p_i": p_i, "p_o": p_o} | ({"p_f": p_f} if cell == "lstm_peephole" else {})
    return params


class _Builder:
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
    onnx = _library()
    if model.bidirectional or model.connections != "plain":
        raise InputError("only plain layers of one direction can be written as a language model.")
    if len({layer.output_size for layer in model.layers}) != 1:
        raise InputError("only layers of one size can be written as a language model.")
    layers = Layers(cell, tuple((layer.arrays(),) for layer in model.layers))
    inner = to_onnx(layers, states=True)
    table = np.asarray(model.embedding.embedding.get_value(), np.float32)
    builder = _Builder(onnx)
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


def _library() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise InputError("onnx is not installed: pip install onnx.") from None
    return onnx
