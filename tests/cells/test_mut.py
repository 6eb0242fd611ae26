"""What sets MUT1 to 3, and the LSTM's ablations, apart from the cells they came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, InputError, Variant, mut1, mut2, mut3, unroll
from seqjax.cells.lstm_variants import ABLATIONS
from tests.support.randomness import problem

H, D = 4, 3
MUTS = {"mut1": mut1, "mut2": mut2, "mut3": mut3}


def pick(params, z_bias, r_bias=None):
    """The same parameters with an update gate, and a reset gate, that hold one value."""
    b = np.array(params["b"]).reshape(3, H)
    b[1] = z_bias
    if r_bias is not None:
        b[0] = r_bias
    return {**params, "b": b.reshape(-1)}


@pytest.mark.parametrize("name", MUTS)
def test_z_is_the_share_of_the_new_state(name):
    """Shut, the state stays as it is; open, what was there acts through the candidate alone."""
    cell = MUTS[name](H)
    params, state, xs = problem(cell, input_size=D)
    kept, _ = unroll(cell, pick(params, -1e4), xs, state)
    np.testing.assert_array_equal(kept.h, state.h)
    gone, y = cell.step(pick(params, 1e4, -1e4), state, xs[0])
    forgotten, _ = cell.step(pick(params, 1e4, -1e4), cell.initial_state((3,)), xs[0])
    np.testing.assert_allclose(gone.h, forgotten.h, rtol=1e-5, atol=1e-6)
    assert np.all(np.abs(y) < 1)


@pytest.mark.parametrize(("name", "looks"), [("mut1", False), ("mut2", True), ("mut3", True)])
def test_only_the_update_gate_of_mut1_does_not_see_the_state(name, looks):
    """With the reset gate shut and the candidate's bias at the far end, h - h' shows (1 - z)."""
    cell = MUTS[name](H)
    params, state, xs = problem(cell, input_size=D, batch=())
    params = pick(params, 0.0, -1e4)
    params["b"][2 * H :] = 1e4  # n = 1

    def z(h):
        return (cell.step(params, state._replace(h=h), xs[0])[1] - h) / (1 - h)

    jacobian = jax.jacobian(z)(jnp.asarray(state.h))
    assert (np.abs(jacobian).max() > 1e-2) == looks


def test_mut3_is_a_gru_in_its_small_states():
    """tanh(h) ≈ h: with an embedding that changes nothing, MUT3 is the published GRU, 1 - z for z."""
    cell, gru = mut3(H), CELLS["gru_reset_before"](H)
    params, state, xs = problem(cell, steps=1, input_size=H)
    params["w_e"] = np.eye(H, dtype=np.float32)
    state = state._replace(h=1e-2 * state.h)
    sign = np.array([1, -1, 1], np.float32)[:, None].repeat(H, 1).reshape(-1)
    as_gru = {
        "w": params["w"] * sign,
        "u": np.concatenate([params["u"], -params["u_z"]], axis=1),
        "u_n": params["u_n"],
        "b": params["b"] * sign,
    }
    ours, theirs = cell.step(params, state, xs[0])[1], gru.step(as_gru, state, xs[0])[1]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    far = state._replace(h=300 * state.h)
    assert np.abs(cell.step(params, far, xs[0])[1] - gru.step(as_gru, far, xs[0])[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "matrices"),
    [("mut1", 2 + 2), ("mut2", 2 + 3), ("mut3", 3 + 3)],
)
def test_number_of_parameters(name, matrices):
    params = MUTS[name](H).init(jax.random.key(0), D)
    assert sum(a.size for a in jax.tree.leaves(params)) == D * H + matrices * H * H + 3 * H


@pytest.mark.parametrize("name", MUTS)
def test_orthogonal_in_every_block_at_the_start(name):
    params = MUTS[name](H).init(jax.random.key(0), D)
    for u in (v for k, v in params.items() if k.startswith("u")):
        for block in np.split(np.asarray(u), u.shape[1] // H, axis=1):
            np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "gate", "place"),
    [
        ("lstm_no_input_gate", "i", 0),
        ("lstm_no_forget_gate", "f", 1),
        ("lstm_no_output_gate", "o", 3),
    ],
)
def test_an_ablation_is_the_lstm_whose_gate_is_always_open(name, gate, place):
    assert gate not in ABLATIONS[name].gates
    whole, cell = CELLS["lstm"](H), CELLS[name](H)
    params, state, xs = problem(whole, steps=9, input_size=D)
    params["b"][place * H : place * H + H] = 1e4
    others = [j for j in range(4 * H) if j // H != place]
    less = {k: v[..., others] for k, v in params.items()}
    ours, theirs = unroll(cell, less, xs, state), unroll(whole, params, xs, state)
    for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_tanh_output_gate_can_turn_the_sign():
    """σ keeps hₜ on the side of cₜ, tanh need not."""
    for name, turns in (("lstm", False), ("lstm_tanh_output_gate", True)):
        cell = CELLS[name](H)
        params, state, xs = problem(cell, steps=30, input_size=D)

        def step(carry, x, cell=cell, params=params):
            carry, _ = cell.step(params, carry, x)
            return carry, carry

        _, states = jax.lax.scan(step, jax.tree.map(jnp.asarray, state), xs)
        assert bool(jnp.any(states.h * states.c < 0)) == turns


def test_a_missing_gate_has_no_tanh():
    with pytest.raises(InputError, match="tanh_output_gate=True needs an output gate"):
        Variant(output_gate=False, tanh_output_gate=True)
