"""Dropout outside of cells: what shares a mask, and that the mean is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError
from seqjax.layers import noise

KEY = jax.random.key(0)
T, B, D, V = 7, 3, 50, 9


def test_units_are_dropped_anew_at_each_step_or_for_all():
    xs = jnp.ones((T, B, D))
    anew, same = noise.drop_units(xs, KEY, 0.25), noise.drop_steps(xs, KEY, 0.25)
    for dropped in (anew, same):
        assert set(np.unique(dropped)) == {0, np.float32(1) / np.float32(0.75)}
        assert 0.1 < np.mean(dropped == 0) < 0.4
    assert np.ptp(same, axis=0).max() == 0
    assert len({row.tobytes() for row in np.asarray(same[0])}) == B
    assert len({row.tobytes() for row in np.asarray(anew).reshape(-1, D)}) == T * B
    np.testing.assert_array_equal(noise.drop_units(xs, KEY, 0.0), xs)


def test_a_type_of_a_row_is_dropped_wherever_it_stands():
    tokens = jnp.array(np.random.default_rng(0).integers(0, V, (200, 30)))
    kept = np.asarray(noise.drop_types(tokens, V, KEY, 0.5))
    for row in range(200):
        for token in range(V):
            assert len(set(kept[row][tokens[row] == token])) <= 1
    assert 0.45 < np.mean(kept == 0) < 0.55
    np.testing.assert_allclose(kept.mean(), 1, atol=0.1)


def test_words_are_replaced_one_by_one():
    tokens = jnp.ones((100, 30), jnp.int32)
    replaced = np.asarray(noise.drop_words(tokens, KEY, 0.2, unknown=5))
    assert set(np.unique(replaced)) == {1, 5}
    assert 0.17 < np.mean(replaced == 5) < 0.23
    assert replaced.dtype == np.int32


def test_a_rate_of_one_is_refused():
    with pytest.raises(InputError, match=r"rate must lie in \[0, 1\), got 1.0"):
        noise.drop_units(jnp.ones((T, B, D)), KEY, 1.0)
