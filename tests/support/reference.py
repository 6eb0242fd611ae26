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


def softplus(v):
    return math.log1p(math.exp(-abs(v))) + max(v, 0.0)


def silu(v):
    return v * sigmoid(v)


def sums(x, w, b=None):
    """Of every column of w, affine."""
    return [affine(x, w, j) + (0.0 if b is None else float(b[j])) for j in range(w.shape[1])]


def min_gru(p, state, x):
    size, z = len(state["h"]), sums(x, p["w"], p["b"])
    gates = [sigmoid(z[j]) for j in range(size)]
    h = np.array([(1 - gates[j]) * state["h"][j] + gates[j] * z[size + j] for j in range(size)])
    return {"h": h}, h


def min_lstm(p, state, x):
    size, z = len(state["h"]), sums(x, p["w"], p["b"])
    h = np.zeros(size)
    for j in range(size):
        f, i = sigmoid(z[j]), sigmoid(z[size + j])
        h[j] = (f * state["h"][j] + i * z[2 * size + j]) / (f + i)
    return {"h": h}, h


def lru(p, state, x):
    size, y = len(state["re"]), sums(x, p["d"])
    h = np.zeros(size, complex)
    for j in range(size):
        decay = np.exp(complex(-math.exp(p["nu"][j]), math.exp(p["theta"][j])))
        seen = complex(affine(x, p["b_re"], j), affine(x, p["b_im"], j))
        old = complex(state["re"][j], state["im"][j])
        h[j] = decay * old + math.exp(p["log_gamma"][j]) * seen
    c = np.asarray(p["c_re"]) + 1j * np.asarray(p["c_im"])
    y = np.array([y[j] + sum(h[k] * c[k, j] for k in range(size)).real for j in range(size)])
    return {"re": h.real, "im": h.imag}, y


def s5(p, state, x):
    size, y = len(state["re"]), sums(x, p["d"])
    h = np.zeros(size, complex)
    for j in range(size):
        eigenvalue = complex(-math.exp(p["a"][j]), p["omega"][j])
        step = math.exp(p["log_step"][j])
        seen = complex(affine(x, p["b_re"], j), affine(x, p["b_im"], j))
        turn = np.exp(step * eigenvalue)
        h[j] = turn * complex(state["re"][j], state["im"][j]) + (turn - 1) / eigenvalue * seen
    c = np.asarray(p["c_re"]) + 1j * np.asarray(p["c_im"])
    y = [y[j] + 2 * sum(h[k] * c[k, j] for k in range(size)).real for j in range(len(y))]
    return {"re": h.real, "im": h.imag}, np.array(y)


def rg_lru(p, state, x):
    size, u = len(state["h"]), sums(x, p["w_u"], p["b_u"])
    z, h = sums(u, p["w"], p["b"]), np.zeros(len(state["h"]))
    for j in range(size):
        a = math.exp(-8 * softplus(p["decay"][j]) * sigmoid(z[j]))
        h[j] = a * state["h"][j] + math.sqrt(1 - a * a) * sigmoid(z[size + j]) * u[j]
    return {"h": h}, h


def hgrn(p, state, x):
    size, z = len(state["re"]), sums(x, p["w"], p["b"])
    h = np.zeros(size, complex)
    for j in range(size):
        f, old = sigmoid(z[j]), complex(state["re"][j], state["im"][j])
        c = complex(silu(z[size + j]), silu(z[2 * size + j]))
        h[j] = f * np.exp(1j * p["theta"][j]) * old + (1 - f) * c
    parts = [*h.real, *h.imag]
    y = np.array([sigmoid(z[3 * size + j]) * parts[j] for j in range(2 * size)])
    return {"re": h.real, "im": h.imag}, y


def sru(p, state, x):
    size, z = len(state["c"]), sums(x, p["w"])
    v = p.get("v", np.zeros((2, size)))
    c, y = np.zeros(size), np.zeros(size)
    for j in range(size):
        f = sigmoid(z[j] + v[0][j] * state["c"][j] + p["b"][j])
        r = sigmoid(z[size + j] + v[1][j] * state["c"][j] + p["b"][size + j])
        c[j] = f * state["c"][j] + (1 - f) * z[2 * size + j]
        y[j] = r * c[j] + (1 - r) * z[3 * size + j]
    return {"c": c}, y


def qrnn(p, state, x):
    size = len(state["c"])
    z = [a + b for a, b in zip(sums(x, p["w"], p["b"]), state["past"], strict=True)]
    f = [sigmoid(z[size + j]) for j in range(size)]
    c = np.array([f[j] * state["c"][j] + (1 - f[j]) * math.tanh(z[j]) for j in range(size)])
    y = np.array([sigmoid(z[2 * size + j]) * c[j] for j in range(size)])
    return {"past": np.array(sums(x, p["v"])), "c": c}, y


def ind_rnn(p, state, x):
    z = sums(x, p["w"], p["b"])
    h = np.array([relu(z[j] + p["u"][j] * state["h"][j]) for j in range(len(z))])
    return {"h": h}, h


def para_gru(p, state, x):
    size, w = len(state["h"]), sums(x, p["w"], p["b"])
    h = np.zeros(size)
    for j in range(size):
        old = state["h"][j]
        z = sigmoid(w[j] + p["a"][0][j] * old)
        r = sigmoid(w[size + j] + p["a"][1][j] * old)
        n = math.tanh(w[2 * size + j] + p["a"][2][j] * r * old)
        h[j] = (1 - z) * old + z * n
    return {"h": h}, h


def para_lstm(p, state, x):
    size, w = len(state["h"]), sums(x, p["w"], p["b"])
    h, c = np.zeros(size), np.zeros(size)
    for j in range(size):
        h_old, c_old = state["h"][j], state["c"][j]
        f = sigmoid(w[j] + p["a"][0][j] * h_old + p["p"][0][j] * c_old)
        g = math.tanh(w[size + j] + p["a"][1][j] * h_old)
        c[j] = f * c_old + (1 - f) * g
        o = sigmoid(w[2 * size + j] + p["a"][2][j] * h_old + p["p"][1][j] * c[j])
        h[j] = o * math.tanh(c[j])
    return {"h": h, "c": c}, h


def mamba(p, state, x):
    size, states = state["h"].shape
    wide = sums(x, p["w"])
    u = [wide[j] + p["b_u"][j] for j in range(size)]
    delta = [softplus(v) for v in sums(sums(u, p["w_delta"]), p["v_delta"], p["b_delta"])]
    bc = sums(u, p["w_bc"])
    h, y = np.zeros((size, states)), np.zeros(size)
    for j in range(size):
        for n in range(states):
            decay = math.exp(-delta[j] * math.exp(p["log_a"][j][n]))
            h[j, n] = decay * state["h"][j][n] + delta[j] * u[j] * bc[n]
            y[j] += h[j, n] * bc[states + n]
        y[j] = (y[j] + p["d"][j] * u[j]) * silu(wide[size + j])
    return {"h": h}, y


def gla(p, state, x):
    heads, keys, values = state["s"].shape
    qk, vr = sums(x, p["w_qk"]), sums(x, p["w_vr"])
    gates = sums(sums(x, p["w_alpha"]), p["v_alpha"], p["b_alpha"])
    s, y = np.zeros(state["s"].shape), np.zeros(heads * values)
    for m in range(heads):
        for j in range(values):
            place = m * values + j
            for k in range(keys):
                key = m * keys + k
                alpha = sigmoid(gates[key]) ** (1 / 16)
                s[m, k, j] = alpha * state["s"][m][k][j] + qk[heads * keys + key] * vr[place]
                y[place] += s[m, k, j] * qk[key] / math.sqrt(keys)
            y[place] *= silu(vr[heads * values + place] + p["b_r"][place])
    return {"s": s}, y


def mlstm(p, state, x):
    heads, keys, values = state["c"].shape
    wide, gates = sums(x, p["w"]), sums(x, p["w_if"], p["b_if"])
    c, n, m = (np.zeros(np.shape(state[k])) for k in "cnm")
    y = np.zeros(heads * values)
    for head in range(heads):
        f = -softplus(-gates[heads + head])
        m[head] = max(f + state["m"][head], gates[head])
        i, f = math.exp(gates[head] - m[head]), math.exp(f + state["m"][head] - m[head])
        q = wide[head * keys : (head + 1) * keys]
        start = (heads + head) * keys
        key = [v / math.sqrt(keys) for v in wide[start : start + keys]]
        start = 2 * heads * keys + head * values
        value = wide[start : start + values]
        for a in range(keys):
            n[head, a] = f * state["n"][head][a] + i * key[a]
            for b in range(values):
                c[head, a, b] = f * state["c"][head][a][b] + i * key[a] * value[b]
        floor = max(abs(sum(n[head, a] * q[a] for a in range(keys))), math.exp(-m[head]))
        for b in range(values):
            place = head * values + b
            o = sigmoid(wide[2 * heads * keys + heads * values + place] + p["b_o"][place])
            y[place] = o * sum(c[head, a, b] * q[a] for a in range(keys)) / floor
    return {"c": c, "n": n, "m": m}, y


def slstm(p, state, x):
    size = len(state["h"])
    z = [a + b for a, b in zip(sums(x, p["w"], p["b"]), sums(state["h"], p["u"]), strict=True)]
    h, c, n, m = np.zeros((4, size))
    for j in range(size):
        f = -softplus(-z[size + j])
        kept = f + state["m"][j] if state["n"][j] else z[j]
        m[j] = max(kept, z[j])
        i, f = math.exp(z[j] - m[j]), math.exp(kept - m[j])
        c[j] = f * state["c"][j] + i * math.tanh(z[2 * size + j])
        n[j] = f * state["n"][j] + i
        h[j] = sigmoid(z[3 * size + j]) * c[j] / n[j]
    return {"h": h, "c": c, "n": n, "m": m}, h


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
    "lru": lru,
    "s5": s5,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "rg_lru": rg_lru,
    "hgrn": hgrn,
    "sru": sru,
    "qrnn": qrnn,
    "ind_rnn": ind_rnn,
    "para_gru": para_gru,
    "para_lstm": para_lstm,
    "mamba": mamba,
    "gla": gla,
    "mlstm": mlstm,
    "slstm": slstm,
}
