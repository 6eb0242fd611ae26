"""Intervals of 95 % confidence, for means and for proportions."""

import math

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def half_width(values: np.ndarray) -> float:
    """Half-width of the mean's 95 % confidence interval (Student's t); NaN for one value."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))


def interval(values: np.ndarray) -> str:
    """The mean with the half-width of its interval, "0.912 ± 0.034"; the mean alone for one value."""
    half = half_width(values)
    return f"{np.mean(values):.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")


def of_finished(values: np.ndarray) -> str:
    """The interval of those that are finite; how many are not, networks that diverged, stands beside it."""
    good = values[np.isfinite(values)]
    lost = len(values) - len(good)
    if not len(good):
        return "diverged"
    return interval(good) + (f" ({lost} diverged)" if lost else "")


def wilson(successes: int, runs: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a proportion (1927): its lower and upper end, at 95 % for z = 1.96."""
    share, shrink = successes / runs, 1 + z**2 / runs
    middle = (share + z**2 / (2 * runs)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    return max(0.0, middle - half), min(1.0, middle + half)
