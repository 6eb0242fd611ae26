"""Shares of variance, for every finite table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.lstm_variants import fanova as module
from experiments.lstm_variants.fanova import fanova


@pytest.fixture(autouse=True, scope="module")
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TREES", 8)
        patch.setattr(module, "POINTS", 5)
        yield


def check(values, seed=0):
    settings = np.random.default_rng(seed).random((len(values), 3))
    with np.errstate(all="raise", under="ignore"):
        shares = fanova("abc", settings, np.array(values, float), seed=seed)
    every = [*shares.alone.values(), *shares.pairs.values(), shares.rest]
    assert all(0 <= share <= 1 for share in every), every
    assert sum(every) == pytest.approx(1, abs=1e-12)
    assert all(np.isfinite(surface).all() for surface in shares.surfaces.values())
    return shares


@pytest.mark.parametrize(
    "values",
    [
        [0.1] * 12,
        [0.1] * 11 + [0.2],
        [0.1, np.nextafter(0.1, 1)] * 6,
        [1e300, -1e300, 1.0] * 4,
        [1.7e308, -1.7e308] * 6,
        [5e-324, 0.0] * 6,
        [1e-300, 2e-300, 3e-300] * 4,
        list(range(12)),
        [1e8 + i * 1e-8 for i in range(12)],
    ],
    ids=str,
)
def test_shares_lie_between_0_and_1_and_sum_to_1(values):
    check(values)


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=8, max_size=20)
    | st.lists(st.sampled_from((0.1, 0.1, 0.1, 0.2)), min_size=8, max_size=20),
    seed=st.integers(0, 5),
)
def test_so_they_do_for_any_finite_table(values, seed):
    check(values, seed)


def test_a_table_that_does_not_vary_leaves_all_to_the_rest():
    shares = check([0.3] * 12)
    assert shares.rest == 1
    assert all(np.allclose(surface, 0.3) for surface in shares.surfaces.values())
