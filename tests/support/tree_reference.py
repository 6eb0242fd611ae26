"""Every tree cell's equations written again, in NumPy float64, unit by unit and recursively.

A reference takes `(params, children, x)` for ONE node: children a list of `{"h": vector, ...}`, empty
for a leaf, x a vector or None; it returns the node's own state.
"""

import math

import numpy as np

from tests.support.reference import affine, sigmoid


def tree_lstm(p, children, x):
    """Equations 9 to 14 of Tai et al. (2015) with N = 2."""
    size = len(p["b"]) // 4

    def own(gate, j):
        column = gate * size + j
        return p["b"][column] + (0 if x is None else affine(x, p["w"], column))

    def below(part, j):
        return sum(
            affine(child["h"], p["u"][k * size : (k + 1) * size], part * size + j)
            for k, child in enumerate(children)
        )

    h, c = np.zeros(size), np.zeros(size)
    for j in range(size):
        i = sigmoid(own(0, j) + below(0, j))
        g = math.tanh(own(2, j) + below(3, j))
        o = sigmoid(own(3, j) + below(4, j))
        c[j] = i * g
        for k, child in enumerate(children):
            c[j] += sigmoid(own(1, j) + below(1 + k, j)) * child["c"][j]
        h[j] = o * math.tanh(c[j])
    return {"h": h, "c": c}


def child_sum(p, children, x):
    """Equations 2 to 8 of Tai et al. (2015)."""
    size = len(p["b"]) // 4
    total = sum((child["h"] for child in children), np.zeros(size))

    def gate(number, j, h):
        column = number * size + j
        own = p["b"][column] + (0 if x is None else affine(x, p["w"], column))
        return own + affine(h, p["u"], column)

    h, c = np.zeros(size), np.zeros(size)
    for j in range(size):
        c[j] = sigmoid(gate(0, j, total)) * math.tanh(gate(2, j, total))
        c[j] += sum(sigmoid(gate(1, j, child["h"])) * child["c"][j] for child in children)
        h[j] = sigmoid(gate(3, j, total)) * math.tanh(c[j])
    return {"h": h, "c": c}


def rnn(p, children, x):
    if not children:
        return {"h": np.tanh(np.asarray(x, np.float64))}
    pair = np.concatenate([child["h"] for child in children])
    return {
        "h": np.array([math.tanh(affine(pair, p["u"], j) + p["b"][j]) for j in range(len(p["b"]))])
    }


def rntn(p, children, x):
    if not children:
        return {"h": np.tanh(np.asarray(x, np.float64))}
    pair = np.concatenate([child["h"] for child in children])
    h = np.zeros(len(p["b"]))
    for j in range(len(h)):
        z = affine(pair, p["u"], j) + p["b"][j]
        for a in range(len(pair)):
            for b in range(len(pair)):
                z += float(pair[a]) * float(p["v"][a, b, j]) * float(pair[b])
        h[j] = math.tanh(z)
    return {"h": h}


TREE_REFERENCES = {"tree_lstm": tree_lstm, "child_sum": child_sum, "rnn": rnn, "rntn": rntn}


def compose(reference, params, tree, inputs, node=-1):
    """The states of all nodes below `node`, by number: recursively, from the root.

    `inputs` maps the number of a node to its vector; nodes that are not in it have none.
    """
    node = node % len(tree)
    states, children = {}, []
    for child in tree[node]:
        if child >= 0:
            states |= compose(reference, params, tree, inputs, child)
            children.append(states[child])
    states[node] = reference(params, children, inputs.get(node))
    return states
