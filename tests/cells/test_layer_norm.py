"""What layer norm does not notice, and the variant that normalises each gate."""

import jax
import numpy as np
import pytest

from seqjax import CELLS, gru, lstm, unroll
from tests.support import reference
from tests.support.randomness import problem

NAMES = ("lstm_layer_norm", "gru_layer_norm")


@pytest.mark.numeric
@pytest.mark.parametrize("name", NAMES)
def test_each_gate_by_itself_equals_its_equations(name):
    cell = CELLS[name](3, per_gate=True)
    groups = {"lstm_layer_norm": 4, "gru_layer_norm": 2}[name]
    with jax.enable_x64(True):
        params, state, xs = problem(cell, dtype=np.float64, batch=(2,))
        final, ys = unroll(cell, params, xs, state)
    for row in range(2):
        expected = {k: v[row] for k, v in state._asdict().items()}
        for t in range(len(xs)):
            step = getattr(reference, name)
            expected, y = step(params, expected, xs[t, row], groups)
            np.testing.assert_allclose(ys[t, row], y, rtol=1e-12, atol=1e-13)
    assert final.h.shape == (2, 3)


@pytest.mark.numeric
@pytest.mark.parametrize("name", NAMES)
def test_is_invariant_to_the_scale_of_its_recurrent_matrix(name):
    """Up to epsilon: Ba et al., table 1. The plain cell is not."""
    cell = CELLS[name](16)
    plain = {"lstm_layer_norm": lstm, "gru_layer_norm": gru}[name](16)
    params, state, xs = problem(cell, steps=3)
    shifted = {**params, "u": 7 * params["u"] + 0.5}  # every sum of h, by the same number
    _, ys = unroll(cell, params, xs, state)
    np.testing.assert_allclose(unroll(cell, shifted, xs, state)[1], ys, atol=2e-4)
    of_plain = {k: params[k] for k in plain.init(jax.random.key(0), 4)}
    changed = unroll(plain, {**of_plain, "u": shifted["u"]}, xs, state)[1]
    assert np.abs(changed - unroll(plain, of_plain, xs, state)[1]).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_gains_start_from_what_is_asked(name):
    params = CELLS[name](4, gain=0.1).init(jax.random.key(0), 3)
    gains = [np.unique(v) for k, v in params.items() if k.startswith("gain")]
    assert np.allclose(np.concatenate(gains), 0.1)
