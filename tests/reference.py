"""Every cell's equations written again, in NumPy float64, unit by unit, sharing no code with seqjax.

A reference takes `(params, state, x)` for ONE example and ONE step: params a dict of arrays, state a
dict of vectors, x a vector; it returns the new state and the output. Cells of `CELLS` without an
entry here fail the conformance suite.
"""

import math

import numpy as np


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def affine(x: np.ndarray, w: np.ndarray, j: int) -> float:
    """Σᵢ xᵢ wᵢⱼ"""
    return sum(float(x[i]) * float(w[i, j]) for i in range(len(x)))


def elman(activation):
    def step(p, state, x):
        h = np.array(
            [
                activation(affine(x, p["w"], j) + affine(state["h"], p["u"], j) + p["b"][j])
                for j in range(len(p["b"]))
            ]
        )
        return {"h": h}, h

    return step


def lstm(p, state, x):
    size = len(state["h"])
    h, c = np.zeros(size), np.zeros(size)
    for j in range(size):
        i, f, g, o = (
            affine(x, p["w"], k * size + j)
            + affine(state["h"], p["u"], k * size + j)
            + p["b"][k * size + j]
            for k in range(4)
        )
        c[j] = sigmoid(f) * state["c"][j] + sigmoid(i) * math.tanh(g)
        h[j] = sigmoid(o) * math.tanh(c[j])
    return {"h": h, "c": c}, h


def gru(p, state, x):
    size = len(state["h"])
    h = np.zeros(size)
    for j in range(size):
        from_x = [affine(x, p["w"], k * size + j) + p["b"][k * size + j] for k in range(3)]
        from_h = [affine(state["h"], p["u"], k * size + j) for k in range(3)]
        r = sigmoid(from_x[0] + from_h[0])
        z = sigmoid(from_x[1] + from_h[1])
        n = math.tanh(from_x[2] + r * (from_h[2] + p["b_hn"][j]))
        h[j] = (1 - z) * n + z * state["h"][j]
    return {"h": h}, h


def gru_reset_before(p, state, x):
    size = len(state["h"])
    gates = [
        [
            sigmoid(
                affine(x, p["w"], k * size + j)
                + affine(state["h"], p["u"], k * size + j)
                + p["b"][k * size + j]
            )
            for j in range(size)
        ]
        for k in range(2)
    ]
    r, z = np.array(gates[0]), np.array(gates[1])
    reset = r * state["h"]
    h = np.zeros(size)
    for j in range(size):
        n = math.tanh(
            affine(x, p["w"], 2 * size + j) + affine(reset, p["u_n"], j) + p["b"][2 * size + j]
        )
        h[j] = (1 - z[j]) * n + z[j] * state["h"][j]
    return {"h": h}, h


def relu(v: float) -> float:
    return max(v, 0.0)


REFERENCES = {
    "rnn": elman(math.tanh),
    "rnn_relu": elman(relu),
    "rnn_linear": elman(float),
    "irnn": elman(relu),
    "lstm": lstm,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
}
