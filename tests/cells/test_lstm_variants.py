"""What the variants of the LSTM have in common, and what each has not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import CELLS, InputError, Variant, lstm, lstm_variant, unroll
from seqjax.cells.lstm_variants import VARIANTS, gates
from tests.support.randomness import problem, randomise

H, D = 4, 3


def test_without_peepholes_it_is_the_lstm_bit_for_bit():
    plain, variant = lstm(H), lstm_variant(H, Variant(peepholes=False))
    params = plain.init(jax.random.key(3), D)
    for name, array in variant.init(jax.random.key(3), D).items():
        np.testing.assert_array_equal(array, params[name])
    params, state, xs = problem(plain, steps=9, input_size=D)
    for a, b in zip(
        jax.tree.leaves(unroll(plain, params, xs, state)),
        jax.tree.leaves(unroll(variant, params, xs, state)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_variants_share_the_draws_of_the_gates_they_share():
    whole = CELLS["lstm_peephole"](H).init(jax.random.key(5), D)
    places = {k: slice(H * i, H * i + H) for i, k in enumerate("ifgo")}
    for name, variant in VARIANTS.items():
        params = CELLS[name](H).init(jax.random.key(5), D)
        for i, gate in enumerate(variant.gates):
            for kind in ("w", "u", "b"):
                own = params[kind][..., H * i : H * i + H]
                np.testing.assert_array_equal(own, whole[kind][..., places[gate]])


@pytest.mark.parametrize(
    ("name", "gates_and_g", "peepholes"),
    [
        ("lstm_peephole", 4, 3),
        ("lstm_nig", 3, 2),
        ("lstm_nfg", 3, 2),
        ("lstm_nog", 3, 2),
        ("lstm_niaf", 4, 3),
        ("lstm_noaf", 4, 3),
        ("lstm_np", 4, 0),
        ("lstm_cifg", 3, 2),
    ],
)
def test_number_of_parameters(name, gates_and_g, peepholes):
    params = CELLS[name](H).init(jax.random.key(0), D)
    count = sum(a.size for a in jax.tree.leaves(params))
    assert count == gates_and_g * H * (D + H + 1) + peepholes * H


def test_full_gate_recurrence_has_nine_more_matrices():
    vanilla, fgr = (CELLS[n](H).init(jax.random.key(0), D) for n in ("lstm_peephole", "lstm_fgr"))
    assert fgr.pop("r").shape == (3 * H, 3 * H)
    assert jax.tree.map(jnp.shape, fgr) == jax.tree.map(jnp.shape, vanilla)


def test_full_gate_recurrence_without_its_matrices_is_vanilla():
    cell = CELLS["lstm_fgr"](H)
    params, state, xs = problem(cell, steps=6, input_size=D)
    params = params | {"r": 0 * params["r"]}
    _, ys = unroll(cell, params, xs, state)
    vanilla = CELLS["lstm_peephole"](H)
    start = vanilla.initial_state((3,))._replace(h=state.h, c=state.c)
    _, expected = unroll(vanilla, {k: v for k, v in params.items() if k != "r"}, xs, start)
    np.testing.assert_allclose(ys, expected, rtol=1e-6, atol=1e-6)


def test_no_forget_gate_never_forgets():
    """With f = 1 the derivative of a cell with respect to its past is 1 along the cell itself."""
    cell = CELLS["lstm_nfg"](H)
    params, state, xs = problem(cell, steps=50, batch=(), input_size=D)
    params = {k: v * (0 if k in ("u", "p_i", "p_o") else 1) for k, v in params.items()}

    def last_cell(c):
        return unroll(cell, params, xs, state._replace(c=c))[0].c

    np.testing.assert_allclose(jax.jacobian(last_cell)(jnp.asarray(state.c)), np.eye(H), atol=1e-6)


def test_coupled_gates_sum_to_one():
    variant = VARIANTS["lstm_cifg"]
    params, state, xs = problem(CELLS["lstm_cifg"](H), input_size=D)
    found = gates(variant, params, state, xs[0])
    np.testing.assert_allclose(found.i + found.f, np.ones((3, H)), rtol=1e-6)


def test_linear_activations_are_unbounded():
    """g of NIAF and h of NOAF leave [-1, 1], those of vanilla cannot."""
    for name, bounded in (("lstm_peephole", True), ("lstm_niaf", False), ("lstm_noaf", False)):
        cell = CELLS[name](H)
        params = randomise(cell.init(jax.random.key(0), D), 1)
        params |= {k: 0 * v for k, v in params.items() if k.startswith("p_")}  # no gate is shut
        state = cell.initial_state((2,))._replace(c=jnp.full((2, H), 50.0))
        found = gates(VARIANTS[name], params, state, 100 * jnp.ones((2, D)))
        h = cell.step(params, state, jnp.zeros((2, D)))[1]
        largest = max(float(jnp.abs(found.g).max()), float(jnp.abs(h).max()))
        assert (largest <= 1) == bounded


@pytest.mark.parametrize("missing", ["input_gate", "forget_gate"])
def test_a_gate_that_is_missing_cannot_be_coupled(missing):
    with pytest.raises(InputError, match=r"coupled=True .* needs both"):
        Variant(**{missing: False, "coupled": True})
