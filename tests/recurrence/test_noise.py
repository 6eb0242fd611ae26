"""Where a cell's noise stands: masks of a sequence beside the parameters, masks of a step beside x."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import gru, unroll, unroll_loop
from seqjax.fast_scan.explain import explain
from seqjax.types import Noise
from tests.support.randomness import problem

H, B, T = 4, 3, 6


def bernoulli(key, batch_shape, size):
    return jax.random.bernoulli(key, 0.5, (*batch_shape, size)) * 2.0


def noisy(cell):
    """Inputs keep one mask for a sequence, states have a new one at every step."""

    def step(params, masks, state, x):
        of_sequence, of_step = masks
        state = jax.tree.map(lambda h: h * of_step, state)
        return cell.step(params, state, x * of_sequence)

    return cell._replace(
        noise=Noise(
            per_sequence=bernoulli,
            per_step=lambda key, batch_shape, _: bernoulli(key, batch_shape, H),
            step=step,
        )
    )


def test_without_a_key_there_is_no_noise():
    cell = gru(H)
    params, state, xs = problem(cell, steps=T)
    for run in (unroll, unroll_loop):
        plain, ys = run(cell, params, xs, state)
        again, ys_again = run(noisy(cell), params, xs, state)
        np.testing.assert_array_equal(ys, ys_again)
        jax.tree.map(np.testing.assert_array_equal, plain, again)


def test_a_cell_without_noise_takes_a_key():
    cell = gru(H)
    params, state, xs = problem(cell, steps=T)
    with_key = unroll(cell, params, xs, state, key=jax.random.key(0))[1]
    np.testing.assert_array_equal(with_key, unroll(cell, params, xs, state)[1])


@pytest.mark.parametrize(
    ("lengths", "reverse"), [(None, False), ((0, 3, 6), False), ((0, 3, 6), True)]
)
def test_values_and_gradients_equal_the_loop(lengths, reverse):
    with jax.enable_x64(True):
        cell = noisy(gru(H))
        params, state, xs = problem(cell, steps=T, batch=(B,), dtype=np.float64)
        weights = np.random.default_rng(9).normal(size=(T, B, H))
        options = {"key": jax.random.key(3), "reverse": reverse}
        if lengths is not None:
            options["lengths"] = jnp.array(lengths)

        def loss(run):
            def function(params, state):
                last, ys = run(cell, params, xs, state, **options)
                return jnp.sum(ys * weights) + jnp.sum(last.h**2)

            return jax.jit(jax.value_and_grad(function, (0, 1)))(params, state)

        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
            loss(unroll),
            loss(unroll_loop),
        )


def test_masks_of_a_sequence_stay_and_masks_of_steps_change():
    """A cell that shows its masks: differing rows, and of the steps differing times."""
    cell = gru(H)
    shown = cell._replace(
        noise=Noise(
            bernoulli,
            bernoulli,
            lambda params, masks, state, x: (state, jnp.concatenate(masks, -1)),
        )
    )
    params, state, xs = problem(cell, steps=T, batch=(B,), input_size=5)
    ys = np.asarray(unroll(shown, params, xs, state, key=jax.random.key(1))[1])
    of_sequence, of_steps = ys[..., :5], ys[..., 5:]
    assert np.all(of_sequence == of_sequence[0])
    assert np.any(of_sequence[0, 0] != of_sequence[0, 1])
    assert np.any(of_steps[0] != of_steps[1])


def test_products_of_masked_inputs_leave_the_loop():
    cell = noisy(gru(H))
    params, state, xs = problem(cell, steps=T, batch=(B,), input_size=5)
    masks = (jnp.ones((B, 5)), jnp.ones((B, H)))

    def step(both, state, inputs):
        return cell.noise.step(both[0], (both[1], inputs[1]), state, inputs[0])

    lines = explain(step, (params, masks[0]), state, (xs[0], masks[1])).splitlines()
    assert sum(line.startswith("hoisted") for line in lines) == 1
    assert sum(line.startswith("deferred") for line in lines) == 1
