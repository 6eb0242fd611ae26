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


def lstm_variant(missing=(), linear=(), coupled=False, peepholes=True, output_gate=sigmoid):
    """The LSTM with peepholes less some gates, some tanh, or the forget gate's independence."""
    gates = [k for k in "ifgo" if k not in missing and not (coupled and k == "f")]

    def step(p, state, x):
        size = len(state["h"])
        h, c = np.zeros(size), np.zeros(size)
        for j in range(size):

            def before(k, cell, j=j):
                if k not in gates:
                    return None
                column = gates.index(k) * size + j
                z = affine(x, p["w"], column) + affine(state["h"], p["u"], column) + p["b"][column]
                return z + p[f"p_{k}"][j] * cell if peepholes and k != "g" else z

            old = state["c"][j]
            i = 1.0 if "i" in missing else sigmoid(before("i", old))
            f = 1 - i if coupled else 1.0 if "f" in missing else sigmoid(before("f", old))
            g = before("g", old)
            c[j] = f * old + i * (g if "g" in linear else math.tanh(g))
            o = 1.0 if "o" in missing else output_gate(before("o", c[j]))
            h[j] = o * (c[j] if "h" in linear else math.tanh(c[j]))
        return {"h": h, "c": c}, h

    return step


def lstm_fgr(p, state, x):
    size = len(state["h"])
    h, c, gates = np.zeros(size), np.zeros(size), np.zeros(3 * size)
    for j in range(size):
        z = [
            affine(x, p["w"], k * size + j)
            + affine(state["h"], p["u"], k * size + j)
            + p["b"][k * size + j]
            for k in range(4)
        ]
        r = [affine(state["gates"], p["r"], k * size + j) for k in range(3)]
        i = sigmoid(z[0] + p["p_i"][j] * state["c"][j] + r[0])
        f = sigmoid(z[1] + p["p_f"][j] * state["c"][j] + r[1])
        c[j] = f * state["c"][j] + i * math.tanh(z[2])
        o = sigmoid(z[3] + p["p_o"][j] * c[j] + r[2])
        h[j] = o * math.tanh(c[j])
        gates[[j, size + j, 2 * size + j]] = i, f, o
    return {"h": h, "c": c, "gates": gates}, h


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


def mut(p, state, x, before_gates):
    """MUT1 to 3: `before_gates(e, h, unit)` is what each gate adds up before its squashing."""
    old, size = state["h"], len(state["h"])
    b = p["b"].reshape(3, size)
    e = np.array([affine(x, p["w_e"], j) for j in range(size)])
    sums = [before_gates(e, old, j) for j in range(size)]
    r = np.array([sigmoid(sums[j][0] + b[0, j]) for j in range(size)])
    h = np.zeros(size)
    for j in range(size):
        z = sigmoid(sums[j][1] + b[1, j])
        n = math.tanh(sums[j][2] + affine(r * old, p["u_n"], j) + b[2, j])
        h[j] = z * n + (1 - z) * old[j]
    return {"h": h}, h


def mut1(p, state, x):
    def before_gates(e, h, j):
        size = len(h)
        r = affine(e, p["w"], j) + affine(h, p["u"], j)
        return r, affine(e, p["w"], size + j), math.tanh(e[j])

    return mut(p, state, x, before_gates)


def mut2(p, state, x):
    def before_gates(e, h, j):
        size = len(h)
        z = affine(e, p["w"], j) + affine(h, p["u"], size + j)
        return e[j] + affine(h, p["u"], j), z, affine(e, p["w"], size + j)

    return mut(p, state, x, before_gates)


def mut3(p, state, x):
    def before_gates(e, h, j):
        size = len(h)
        r = affine(e, p["w"], j) + affine(h, p["u"], j)
        z = affine(e, p["w"], size + j) + affine(np.tanh(h), p["u_z"], j)
        return r, z, affine(e, p["w"], 2 * size + j)

    return mut(p, state, x, before_gates)


def relu(v: float) -> float:
    return max(v, 0.0)


def mgu(p, state, x):
    size = len(state["h"])
    f = np.array(
        [
            sigmoid(affine(x, p["w"], j) + affine(state["h"], p["u"], j) + p["b"][j])
            for j in range(size)
        ]
    )
    kept = f * state["h"]
    n = np.array(
        [
            math.tanh(affine(x, p["w"], size + j) + affine(kept, p["u_n"], j) + p["b"][size + j])
            for j in range(size)
        ]
    )
    h = (1 - f) * state["h"] + f * n
    return {"h": h}, h


def normalised(sums):
    """(a - mean) / sqrt(variance + 1e-5) of a list of numbers."""
    mean = sum(sums) / len(sums)
    variance = sum((a - mean) ** 2 for a in sums) / len(sums)
    return [(a - mean) / math.sqrt(variance + 1e-5) for a in sums]


def lstm_layer_norm(p, state, x, groups=1):
    size = len(state["h"])
    from_x = [affine(x, p["w"], k) for k in range(4 * size)]
    from_h = [affine(state["h"], p["u"], k) for k in range(4 * size)]
    width = 4 * size // groups
    parts = [slice(k * width, (k + 1) * width) for k in range(groups)]
    from_x = [v for part in parts for v in normalised(from_x[part])]
    from_h = [v for part in parts for v in normalised(from_h[part])]
    z = [
        p["gain_x"][k] * from_x[k] + p["gain_h"][k] * from_h[k] + p["b"][k] for k in range(4 * size)
    ]
    i, f, g, o = (z[k * size : (k + 1) * size] for k in range(4))
    c = [sigmoid(f[j]) * state["c"][j] + sigmoid(i[j]) * math.tanh(g[j]) for j in range(size)]
    seen = normalised(c)
    h = [sigmoid(o[j]) * math.tanh(p["gain_c"][j] * seen[j] + p["b_c"][j]) for j in range(size)]
    return {"h": np.array(h), "c": np.array(c)}, np.array(h)


def gru_layer_norm(p, state, x, groups=1):
    size = len(state["h"])
    from_x = [affine(x, p["w"], k) for k in range(3 * size)]
    from_h = [affine(state["h"], p["u"], k) for k in range(3 * size)]
    width = 2 * size // groups
    parts = [slice(k * width, (k + 1) * width) for k in range(groups)] + [slice(2 * size, None)]
    from_x = [v for part in parts for v in normalised(from_x[part])]
    from_h = [v for part in parts for v in normalised(from_h[part])]
    from_x = [p["gain_x"][k] * from_x[k] + p["b"][k] for k in range(3 * size)]
    from_h = [p["gain_h"][k] * from_h[k] for k in range(3 * size)]
    h = np.zeros(size)
    for j in range(size):
        r, z = (sigmoid(from_x[k * size + j] + from_h[k * size + j]) for k in range(2))
        n = math.tanh(from_x[2 * size + j] + r * (from_h[2 * size + j] + p["b_hn"][j]))
        h[j] = (1 - z) * n + z * state["h"][j]
    return {"h": h}, h


def exponential(skew_symmetric):
    """exp(S) by the eigenvalues of the Hermitian -i S."""
    values, vectors = np.linalg.eigh(-1j * np.asarray(skew_symmetric, np.float64))
    return (vectors @ np.diag(np.exp(1j * values)) @ vectors.conj().T).real


def skew(a):
    return np.array(
        [
            [a[j][k] if k > j else -a[k][j] if k < j else 0.0 for k in range(len(a))]
            for j in range(len(a))
        ]
    )


def cayley(p):
    s, eye = skew(p["a"]), np.eye(len(p["a"]))
    signs = [1.0 if k < len(s) - len(s) // 2 else -1.0 for k in range(len(s))]
    return np.linalg.inv(eye + s) @ (eye - s) @ np.diag(signs)


def householder(p):
    q = np.eye(p["v"].shape[1])
    for v in p["v"]:
        v = np.asarray(v, np.float64)
        q = q @ (np.eye(len(v)) - 2 * np.outer(v, v) / np.sum(v * v))
    return q


def orthogonal(matrix):
    """The Elman network with modReLU whose recurrent matrix is `matrix(p)`, rows to, columns from."""

    def step(p, state, x):
        q, h = matrix(p), np.zeros(len(p["b"]))
        for j in range(len(h)):
            z = affine(x, p["w"], j) + affine(state["h"], q.T, j)
            h[j] = math.copysign(max(abs(z) + p["b"][j], 0.0), z)
        return {"h": h}, h

    return step


def urnn(p, state, x):
    size = len(p["b"])
    j = np.arange(size)
    fourier = np.exp(-2j * np.pi * np.outer(j, j) / size) / math.sqrt(size)
    d1, d2, d3 = (np.diag(np.exp(1j * np.asarray(angles))) for angles in p["theta"])

    def reflection(v):
        v = np.asarray(v[0]) + 1j * np.asarray(v[1])
        return np.eye(size) - 2 * np.outer(v, v.conj()) / np.sum(abs(v) ** 2)

    order = np.random.default_rng(0).permutation(size)
    shuffle = np.eye(size)[order]
    r1, r2 = map(reflection, p["v"])
    u = d3 @ r2 @ np.linalg.inv(fourier) @ d2 @ shuffle @ r1 @ fourier @ d1
    z = u @ (state["h"][:size] + 1j * state["h"][size:])
    h = np.zeros(2 * size)
    for k in range(size):
        value = z[k] + affine(x, p["w"], k) + 1j * affine(x, p["w"], size + k)
        value *= max(abs(value) + p["b"][k], 0.0) / abs(value)
        h[k], h[size + k] = value.real, value.imag
    return {"h": h}, h


REFERENCES = {
    "rnn": elman(math.tanh),
    "rnn_relu": elman(relu),
    "rnn_linear": elman(float),
    "irnn": elman(relu),
    "lstm": lstm,
    "lstm_peephole": lstm_variant(),
    "lstm_nig": lstm_variant(missing="i"),
    "lstm_nfg": lstm_variant(missing="f"),
    "lstm_nog": lstm_variant(missing="o"),
    "lstm_niaf": lstm_variant(linear="g"),
    "lstm_noaf": lstm_variant(linear="h"),
    "lstm_np": lstm_variant(peepholes=False),
    "lstm_cifg": lstm_variant(coupled=True),
    "lstm_no_input_gate": lstm_variant(missing="i", peepholes=False),
    "lstm_no_forget_gate": lstm_variant(missing="f", peepholes=False),
    "lstm_no_output_gate": lstm_variant(missing="o", peepholes=False),
    "lstm_tanh_output_gate": lstm_variant(peepholes=False, output_gate=math.tanh),
    "lstm_fgr": lstm_fgr,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "mgu": mgu,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "lstm_layer_norm": lstm_layer_norm,
    "gru_layer_norm": gru_layer_norm,
    "exp_rnn": orthogonal(lambda p: exponential(skew(p["a"]))),
    "cayley_rnn": orthogonal(cayley),
    "householder_rnn": orthogonal(householder),
    "urnn": urnn,
}
