"""LSTM, GRU and RNN equal ONNX Runtime's CPU operators, which share no code with JAX.

Known divergence, left out here: for a row of length 0 ONNX Runtime returns zeros; seqjax returns
the initial state.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax import CELLS, bidirectional, unroll
from tests.support.randomness import problem
from tests.support.tiers import cases, some_cells

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# ONNX stores gates in another order: LSTM i o f c, GRU z r h; seqjax LSTM i f g o, GRU r z n.
ORDER = {
    "lstm": [0, 3, 1, 2],
    "lstm_peephole": [0, 3, 1, 2],
    "lstm_cifg": [0, 2, 0, 1],
    "gru": [1, 0, 2],
    "gru_reset_before": [1, 0, 2],
    "rnn": [0],
}
OPERATOR = {
    "lstm": "LSTM",
    "lstm_peephole": "LSTM",
    "lstm_cifg": "LSTM",
    "gru": "GRU",
    "gru_reset_before": "GRU",
    "rnn": "RNN",
}
ATTRIBUTES = {
    "lstm_cifg": {"input_forget": 1},
    "gru": {"linear_before_reset": 1},
    "gru_reset_before": {"linear_before_reset": 0},
}


def to_onnx(name, params):
    """`(W [G·H, D], R [G·H, H], B [2·G·H])` for one direction."""
    u, b_recurrent = params["u"], np.zeros_like(params["b"])
    if name == "gru_reset_before":
        u = np.concatenate([params["u"], params["u_n"]], axis=1)
    if name == "gru":
        b_recurrent[-len(params["b_hn"]) :] = params["b_hn"]

    def reorder(array):
        gates = np.split(array, array.shape[-1] // len(params["u"]), axis=-1)
        return np.concatenate([gates[g] for g in ORDER[name]], axis=-1)

    biases = np.concatenate([reorder(params["b"]), reorder(b_recurrent)])
    return reorder(params["w"]).T, reorder(u).T, biases


def run_onnx(name, params, states, xs, lengths, direction):
    """Runs the operator; `params` and `states` are lists, one entry per direction."""
    weights = [to_onnx(name, p) for p in params]
    arrays = {
        "X": xs,
        "W": np.stack([w for w, _, _ in weights]),
        "R": np.stack([r for _, r, _ in weights]),
        "B": np.stack([b for _, _, b in weights]),
        "lens": lengths.astype(np.int32),
        "h0": np.stack([s.h for s in states]),
    }
    if OPERATOR[name] == "LSTM":
        arrays["c0"] = np.stack([s.c for s in states])
    if "p_i" in params[0]:  # (a coupled forget gate's is not read)
        arrays["P"] = np.stack(
            [np.concatenate([p["p_i"], p["p_o"], p.get("p_f", 0 * p["p_i"])]) for p in params]
        )
    outputs = ["Y", "Y_h"] + (["Y_c"] if OPERATOR[name] == "LSTM" else [])
    node = onnx.helper.make_node(
        OPERATOR[name],
        list(arrays),
        outputs,
        hidden_size=states[0].h.shape[-1],
        direction=direction,
        **ATTRIBUTES.get(name, {}),
    )
    kind = {np.dtype(np.int32): onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [node],
        "cell",
        [
            onnx.helper.make_tensor_value_info(
                k, kind.get(v.dtype, onnx.TensorProto.FLOAT), v.shape
            )
            for k, v in arrays.items()
        ],
        [onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, None) for k in outputs],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return dict(zip(outputs, session.run(None, arrays), strict=True))


@pytest.mark.parametrize("name", some_cells(OPERATOR))
@given(
    steps=st.integers(1, 7),
    size=st.integers(1, 6),
    input_size=st.integers(1, 5),
    seed=st.integers(0, 10**6),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    data=st.data(),
)
@cases(short=3, long=30)
def test_equals_onnx_runtime(name, steps, size, input_size, seed, direction, data):
    lengths = np.array(data.draw(st.lists(st.integers(1, steps), min_size=3, max_size=3)))
    cell = CELLS[name](size)
    drawn = [
        problem(cell, steps=steps, input_size=input_size, seed=seed + 10 * d)
        for d in range(2 if direction == "bidirectional" else 1)
    ]
    xs = drawn[0][2]
    params, states = [d[0] for d in drawn], [d[1] for d in drawn]
    if direction == "bidirectional":
        finals, ys = bidirectional((cell, cell), tuple(params), xs, tuple(states), lengths=lengths)
        ys = np.split(np.asarray(ys), 2, axis=-1)
    else:
        final, ys = unroll(
            cell, params[0], xs, states[0], lengths=lengths, reverse=direction == "reverse"
        )
        finals, ys = (final,), [ys]
    expected = run_onnx(name, params, states, xs, lengths, direction)
    for d, (final, y) in enumerate(zip(finals, ys, strict=True)):
        np.testing.assert_allclose(y, expected["Y"][:, d], rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(final.h, expected["Y_h"][d], rtol=2e-5, atol=2e-6)
        if OPERATOR[name] == "LSTM":
            np.testing.assert_allclose(final.c, expected["Y_c"][d], rtol=2e-5, atol=2e-6)
