"""Confidence intervals against SciPy and against published values."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.common.intervals import half_width, interval, wilson


@pytest.mark.parametrize("size", [2, 3, 30])
def test_half_width_is_half_of_students_interval(size):
    values = np.random.default_rng(size).normal(3, 2, size)
    low, high = stats.t.interval(0.95, size - 1, values.mean(), stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)
    assert interval(values) == f"{values.mean():.3f} ± {(high - low) / 2:.3f}"


def test_one_value_has_no_interval():
    assert math.isnan(half_width(np.array([0.5])))
    assert interval(np.array([0.5])) == "0.500"


def test_wilson_interval():
    """10 of 10: [0.722, 1]; 0 of 10 its mirror image; 81 of 263: [0.255, 0.366] (Newcombe, 1998)."""
    np.testing.assert_allclose(wilson(10, 10), (0.7225, 1), atol=1e-4)
    np.testing.assert_allclose(wilson(0, 10), (0, 0.2775), atol=1e-4)
    np.testing.assert_allclose(wilson(81, 263), (0.2553, 0.3662), atol=1e-4)
    np.testing.assert_allclose(wilson(15, 148), (0.0624, 0.1605), atol=1e-4)
