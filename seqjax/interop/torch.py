"""Weights of `torch.nn.LSTM`, `GRU` and `RNN`, in and out, as state dicts. torch itself is not needed.

Gates are in one order in both. torch has two biases, whose sum is one here; the second of a GRU's candidate,
which its reset gate scales, is `b_hn`. torch's GRU and RNN know nothing else that seqjax does not.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.interop.weights import Layers, as_numpy, check_layers, on_device, take
from seqjax.types import Params

CELLS_OF_TORCH = ("lstm", "gru", "rnn", "rnn_relu")
GATES = {4: "lstm", 3: "gru", 1: "rnn"}


def from_torch(
    state_dict: Mapping[str, Any], prefix: str = "", *, nonlinearity: str = "tanh"
) -> Layers:
    """The layers of a state dict: `from_torch(module.state_dict())`.

    Args:
      state_dict: arrays or tensors by torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, ...
      prefix: what stands before these names, "encoder." say; other names are left alone.
      nonlinearity: of an RNN, "tanh" or "relu", which its weights do not tell.

    Raises:
      InputError: if an array is missing, is not of a shape that fits, or is a projection (proj_size).
    """
    arrays = {
        name.removeprefix(prefix): a for name, a in state_dict.items() if name.startswith(prefix)
    }
    projected = [name for name in arrays if name.startswith("weight_hr_")]
    if projected:
        raise InputError(
            f"{prefix}{projected[0]} is a projection (proj_size), which no cell of seqjax has."
        )
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(f'nonlinearity must be "tanh" or "relu", got {nonlinearity!r}.')
    found = [re.fullmatch(r"weight_hh_l(\d+)(_reverse)?", name) for name in arrays]
    numbers = sorted({int(match[1]) for match in found if match})
    if numbers != list(range(len(numbers))) or not numbers:
        raise InputError(
            f"there is no weight_hh_l0 after {prefix!r} among {shown(sorted(state_dict))}."
        )
    ends = ("", "_reverse") if "weight_hh_l0_reverse" in arrays else ("",)
    rows, hidden = as_numpy("weight_hh_l0", arrays["weight_hh_l0"]).shape
    if rows % hidden or rows // hidden not in GATES:
        raise InputError(
            f"weight_hh_l0 must be [G·H, H] with 4, 3 or 1 gates, got shape {(rows, hidden)}."
        )
    name = GATES[rows // hidden]
    layers = tuple(
        tuple(_direction(arrays, f"_l{number}{end}", rows, hidden, name) for end in ends)
        for number in numbers
    )
    found_layers = Layers("rnn_relu" if (name, nonlinearity) == ("rnn", "relu") else name, layers)
    check_layers(found_layers, CELLS_OF_TORCH, "torch")
    return found_layers


def _direction(arrays: Mapping[str, Any], end: str, rows: int, hidden: int, name: str) -> Params:
    w = take(arrays, f"weight_ih{end}", (rows, None))
    u = take(arrays, f"weight_hh{end}", (rows, hidden))
    if f"bias_ih{end}" in arrays:
        b = take(arrays, f"bias_ih{end}", (rows,))
        b_hidden = take(arrays, f"bias_hh{end}", (rows,))
    else:
        b = b_hidden = np.zeros(rows, w.dtype)
    if name != "gru":
        return on_device({"w": w.T, "u": u.T, "b": b + b_hidden})
    # The candidate's second bias is scaled by the reset gate, so it stays by itself.
    summed = b + np.concatenate([b_hidden[: 2 * hidden], np.zeros(hidden, b.dtype)])
    return on_device({"w": w.T, "u": u.T, "b": summed, "b_hn": b_hidden[2 * hidden :]})


def to_torch(layers: Layers, prefix: str = "") -> dict[str, np.ndarray]:
    """The state dict of these layers, in NumPy: `{k: torch.tensor(v) for k, v in ...}`.

    The second bias is zero but for a GRU's `b_hn`.

    Raises:
      InputError: if torch has no such cell.
    """
    check_layers(layers, CELLS_OF_TORCH, "torch")
    arrays = {}
    for number, directions in enumerate(layers.params):
        for params, end in zip(directions, ("", "_reverse"), strict=False):
            of_layer = {name: np.asarray(value) for name, value in params.items()}
            b_hidden = np.zeros_like(of_layer["b"])
            if "b_hn" in of_layer:
                b_hidden[-len(of_layer["b_hn"]) :] = of_layer["b_hn"]
            name = f"_l{number}{end}"
            arrays[f"{prefix}weight_ih{name}"] = of_layer["w"].T.copy()
            arrays[f"{prefix}weight_hh{name}"] = of_layer["u"].T.copy()
            arrays[f"{prefix}bias_ih{name}"] = of_layer["b"]
            arrays[f"{prefix}bias_hh{name}"] = b_hidden
    return arrays
