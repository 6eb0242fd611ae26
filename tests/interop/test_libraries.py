"""Cells in other JAX libraries' loops, and their cells in ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from seqjax import CELLS, unroll, unroll_loop
from seqjax.interop.flax import LinenCell, NNXCell, from_linen, from_nnx
from tests.support.randomness import randomise
from tests.support.tiers import long_only, some_cells

T, B, D, H = 5, 3, 4, 6
XS = np.random.default_rng(0).normal(size=(T, B, D)).astype(np.float32)


def conforms(cell):
    """As the conformance suite asks of any cell: scan, loop, gradients, lengths, batch axes."""
    params = randomise(cell.init(jax.random.key(0), D), 1)
    state = jax.tree.map(jnp.asarray, randomise(cell.initial_state((B,)), 2))
    lengths = np.array([5, 0, 2])
    found = unroll(cell, params, XS, state, lengths=lengths)
    expected = unroll_loop(cell, params, XS, state, lengths=lengths)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert found[1].shape == (T, B, cell.output_size)
    grads = jax.grad(lambda p: jnp.sum(unroll(cell, p, XS, state)[1] ** 2), allow_int=True)(params)
    floats = [g for g in jax.tree.leaves(grads) if jnp.issubdtype(g.dtype, jnp.floating)]
    assert all(np.all(np.isfinite(g)) and np.any(g != 0) for g in floats)
    alone = unroll(cell, params, XS[:, 0], jax.tree.map(lambda s: s[0], state))[1]
    np.testing.assert_allclose(
        alone, unroll(cell, params, XS, state)[1][:, 0], rtol=1e-5, atol=1e-6
    )
    return params, state


NNX_CELLS = {
    "LSTM": lambda size, rngs: nnx.LSTMCell(size, H, rngs=rngs),
    "OptimizedLSTM": lambda size, rngs: nnx.OptimizedLSTMCell(size, H, rngs=rngs),
    "GRU": lambda size, rngs: nnx.GRUCell(size, H, rngs=rngs),
    "Simple": lambda size, rngs: nnx.SimpleCell(size, H, rngs=rngs),
}


@pytest.mark.parametrize("name", ["OptimizedLSTM", *map(long_only, ("LSTM", "GRU", "Simple"))])
def test_cells_of_nnx_run_here(name):
    cell = from_nnx(NNX_CELLS[name])
    conforms(cell)
    theirs = NNX_CELLS[name](D, nnx.Rngs(jax.random.key(7)))
    params = cell.init(jax.random.key(7), D)
    ys = nnx.RNN(theirs)(XS.swapaxes(0, 1))
    np.testing.assert_allclose(unroll(cell, params, XS)[1].swapaxes(0, 1), ys, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "theirs",
    [
        nn.LSTMCell(H),
        *map(long_only, (nn.OptimizedLSTMCell(H), nn.GRUCell(H), nn.MGUCell(H), nn.SimpleCell(H))),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_cells_of_linen_run_here(theirs):
    cell = from_linen(theirs)
    conforms(cell)
    rnn = nn.RNN(theirs)
    xs = XS.swapaxes(0, 1)
    variables = rnn.init(jax.random.key(3), xs)
    (params,) = (
        variables["params"].values() if "cell" in variables["params"] else (variables["params"],)
    )
    np.testing.assert_allclose(
        unroll(cell, params, XS)[1].swapaxes(0, 1), rnn.apply(variables, xs), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", some_cells())
def test_our_cells_run_in_flax(name):
    cell, xs = CELLS[name](H), XS.swapaxes(0, 1)
    module = NNXCell(cell, D, rngs=nnx.Rngs(0))
    params = jax.tree.map(
        lambda p: p.get_value(), module.params, is_leaf=lambda p: isinstance(p, nnx.Param)
    )
    lengths = np.array([5, 1, 2])
    ys = nnx.RNN(module)(xs, seq_lengths=lengths)
    expected = unroll(cell, params, XS)[1].swapaxes(0, 1)
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)
    rnn = nn.RNN(LinenCell(cell))
    variables = rnn.init(jax.random.key(0), xs)
    (found,) = [v["cell"] for v in variables["params"].values()]
    np.testing.assert_allclose(
        rnn.apply(variables, xs), unroll(cell, found, XS)[1].swapaxes(0, 1), rtol=1e-5, atol=1e-6
    )


def test_cells_of_equinox_run_here_and_ours_there():
    eqx = pytest.importorskip("equinox")
    from seqjax.interop.equinox import EquinoxCell, from_equinox

    for make in (eqx.nn.LSTMCell, eqx.nn.GRUCell):
        cell = from_equinox(lambda size, key, make=make: make(size, H, key=key), H)
        params = cell.init(jax.random.key(0), D)
        expected = unroll_loop(cell, params, XS)
        found = unroll(cell, params, XS)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        state = found[0]
        one = params(XS[0, 0], (jnp.zeros(H),) * 2 if len(state) == 2 else jnp.zeros(H))
        h = one[0] if len(state) == 2 else one
        np.testing.assert_allclose(found[1][0, 0], h, rtol=1e-5, atol=1e-6)
    cell = CELLS["gru"](H)
    module = EquinoxCell(cell, D, key=jax.random.key(1))
    state, ys = jax.lax.scan(lambda s, x: module(s, x), module.initial_state((B,)), XS)
    np.testing.assert_allclose(ys, unroll(cell, module.params, XS)[1], rtol=1e-5, atol=1e-6)
    grads = eqx.filter_grad(lambda m: jnp.sum(m(m.initial_state((B,)), XS[0])[1] ** 2))(module)
    assert np.any(grads.params["w"] != 0)


@pytest.mark.long
def test_cores_of_haiku_run_here_and_ours_there():
    hk = pytest.importorskip("haiku")
    from seqjax.interop.haiku import HaikuCell, from_haiku

    for make in (hk.LSTM, hk.GRU, hk.VanillaRNN):
        cell = from_haiku(lambda make=make: make(H))
        params, _ = conforms(cell)
        run = hk.without_apply_rng(
            hk.transform(
                lambda xs, make=make: hk.dynamic_unroll(make(H), xs, make(H).initial_state(B))[0]
            )
        )
        theirs = run.init(jax.random.key(0), XS)
        (name,) = {key.split("/")[0] for key in theirs if "_1" not in key} or {""}
        found = unroll(cell, {k: v for k, v in theirs.items() if k.split("/")[0] == name}, XS)[1]
        np.testing.assert_allclose(found, run.apply(theirs, XS), rtol=1e-5, atol=1e-6)
        assert params
    cell = CELLS["lstm"](H)

    def run(xs):
        core = HaikuCell(cell)
        return hk.dynamic_unroll(core, xs, core.initial_state(B))[0]

    run = hk.transform(run)
    params = run.init(jax.random.key(0), XS)
    (own,) = params.values()
    ys = run.apply(params, None, XS)
    np.testing.assert_allclose(ys, unroll(cell, own, XS)[1], rtol=1e-5, atol=1e-6)
