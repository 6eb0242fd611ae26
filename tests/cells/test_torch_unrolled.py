"""Mamba and the two cells of xLSTM equal torch in float64, written in another form: values and gradients.

Mamba and mLSTM are written without a recurrence, as weighted sums over all earlier steps (the dual form of Dao and
Gu, 2024, and the parallel form of Beck et al., 2024, appendix A.3), sLSTM without its stabiliser m.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, unroll
from tests.support.randomness import problem

torch = pytest.importorskip("torch")
STEPS, ROWS, WIDTH, UNITS = 7, 3, 4, 6


def sums_within(logs):
    """`[T, ...] -> [T, T, ...]`: at t, s the sum of logs over s + 1 to t, and -inf where s > t."""
    total = torch.cumsum(logs, 0)
    past = torch.ones(len(logs), len(logs), dtype=torch.bool).tril()
    past = past.reshape(*past.shape, *[1] * (logs.ndim - 1))
    return torch.where(past, total[:, None] - total[None], -torch.inf)


def mamba(p, state, xs):
    """y = sum over s of C_t exp(A sum of Δ) Δ_s B_s u_s, and what is left of the first state."""
    u, z = (xs @ p["w"]).chunk(2, -1)
    u = u + p["b_u"]
    delta = torch.nn.functional.softplus(u @ p["w_delta"] @ p["v_delta"] + p["b_delta"])
    b, c = (u @ p["w_bc"]).chunk(2, -1)
    logs = -delta[..., None] * p["log_a"].exp()  # [T, B, H, N]
    weights = sums_within(logs).exp()
    read = torch.einsum("tbn,tsbhn,sbh,sbn->tbh", c, weights, delta * u, b)
    first = torch.einsum("tbn,tbhn,bhn->tbh", c, logs.cumsum(0).exp(), state.h)
    return (read + first + p["d"] * u) * torch.nn.functional.silu(z)


def mlstm(p, state, xs, heads):
    """Attention whose weights are sums of log gates; the first state is one more thing to attend to."""
    keys = state.n.shape[-1] * heads
    q, k, v, o = (xs @ p["w"]).split([keys, keys, UNITS, UNITS], -1)
    q, k, v = (a.unflatten(-1, (heads, -1)) for a in (q, k, v))
    i, f = (xs @ p["w_if"] + p["b_if"]).chunk(2, -1)
    logs = torch.nn.functional.logsigmoid(f)  # [T, B, M]
    weights = sums_within(logs) + i[None]
    first = logs.cumsum(0) + state.m
    most = torch.maximum(weights.amax(1), first).detach()
    scores = torch.einsum("tbmk,sbmk->tsbm", q, k / k.shape[-1] ** 0.5)
    scores = scores * (weights - most[:, None]).exp()
    kept = (first - most).exp()
    top = torch.einsum("tsbm,sbmv->tbmv", scores, v)
    top = top + torch.einsum("tbm,tbmk,bmkv->tbmv", kept, q, state.c)
    bottom = scores.sum(1) + torch.einsum("tbm,tbmk,bmk->tbm", kept, q, state.n)
    h = top / torch.maximum(bottom.abs(), (-most).exp())[..., None]
    return torch.sigmoid(o + p["b_o"]) * h.flatten(-2)


def slstm(p, state, xs):
    """Exponentials as they are, which float64 holds at such sizes."""
    h, c, n = state.h, state.c * state.m.exp(), state.n * state.m.exp()
    ys = []
    for x in xs:
        i, f, z, o = (x @ p["w"] + h @ p["u"] + p["b"]).chunk(4, -1)
        c = torch.sigmoid(f) * c + i.exp() * torch.tanh(z)
        n = torch.sigmoid(f) * n + i.exp()
        h = torch.sigmoid(o) * c / n
        ys.append(h)
    return torch.stack(ys)


CASES = {
    "mamba": (CELLS["mamba"](UNITS, state_size=5, rank=2), mamba),
    "mlstm": (CELLS["mlstm"](UNITS), lambda *a: mlstm(*a, heads=1)),
    "mlstm, 3 heads": (
        CELLS["mlstm"](UNITS, heads=3, key_size=4),
        lambda *a: mlstm(*a, heads=3),
    ),
    "slstm": (CELLS["slstm"](UNITS), slstm),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_torch(name):
    cell, port = CASES[name]
    params, state, xs = problem(
        cell, steps=STEPS, batch=(ROWS,), input_size=WIDTH, dtype=np.float64
    )
    if name == "slstm":  # a sum of positive weights
        state = state._replace(n=1 + np.abs(state.n))
    weights = np.random.default_rng(7).normal(size=(STEPS, ROWS, UNITS))
    with jax.enable_x64(True):

        def loss(params, state, xs):
            ys = unroll(cell, params, xs, state)[1]
            return jnp.sum(ys * weights), ys

        (_, ys), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(params, state, xs)

    ours = params, state, xs
    theirs = jax.tree.map(lambda a: torch.tensor(a, requires_grad=True), ours)
    found = port(*theirs)
    (found * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(ys, found.detach(), rtol=1e-10, atol=1e-12)
    for ours_of, leaf in zip(jax.tree.leaves(grads), jax.tree.leaves(theirs), strict=True):
        expected = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(ours_of, expected, rtol=1e-8, atol=1e-10)
