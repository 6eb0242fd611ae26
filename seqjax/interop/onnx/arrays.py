"""The parameters of cells as the arrays of ONNX's nodes. Gates are in the orders i o f c and z r h there."""

from typing import Any

import numpy as np

from seqjax.errors import InputError
from seqjax.interop.weights import reorder
from seqjax.types import Params

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


def to_arrays(cell: str, params: Params) -> tuple[Any, ...]:
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


def from_arrays(name: str, cell: str, arrays: dict[str, Any]) -> Params:
    w, r = arrays["W"].T, arrays["R"].T
    hidden, columns = r.shape
    order = ORDERS["lstm" if cell == "lstm_cifg" else cell]
    if columns != len(order) * hidden or w.shape[1] != columns:
        raise InputError(
            f"{name} has W {arrays['W'].shape} and R {arrays['R'].shape}, which do not fit."
        )
    b = arrays["B"] if arrays["B"] is not None else np.zeros(2 * columns, np.float32)
    peepholes = arrays["P"] if cell in ("lstm_peephole", "lstm_cifg") else np.zeros(3 * hidden)
    if b.shape != (2 * columns,) or peepholes.shape != (3 * hidden,):
        raise InputError(
            f"{name} has B {b.shape} and P {peepholes.shape} for {hidden} units: they must be"
            f" [{2 * columns}] and [{3 * hidden}]."
        )
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
        p_i, p_o, p_f = np.split(peepholes, 3)
        params |= {"p_i": p_i, "p_o": p_o} | ({"p_f": p_f} if cell == "lstm_peephole" else {})
    return params


def library() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise InputError("onnx is not installed: pip install onnx.") from None
    return onnx
