"""Functions from cells to a cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    InputError,
    dense_stack,
    gru,
    leaky,
    lstm,
    residual,
    rnn,
    rnn_linear,
    stack,
    time_skip,
    unroll,
    unroll_loop,
)
from tests.support.randomness import problem
from tests.support.tiers import long_only

pytestmark = pytest.mark.usefixtures("strict_promotion")

WRAPPERS = {
    "stack": lambda: stack(lstm(3), gru(2)),
    "dense_stack": lambda: dense_stack(lstm(3), gru(2), rnn(2)),
    "residual": lambda: residual(gru(4)),
    "leaky": lambda: leaky(lstm(3), 0.7),
    "time_skip": lambda: time_skip(gru(3), 2),
    "skip of a stack": lambda: time_skip(stack(rnn(2), leaky(gru(3), 0.5)), 3),
    "nested": lambda: stack(residual(lstm(4)), dense_stack(rnn(2), gru(3))),
}


@pytest.mark.parametrize(
    "name",
    [
        "leaky",
        "nested",
        *map(long_only, ("skip of a stack", "stack", "dense_stack", "residual", "time_skip")),
    ],
)
def test_a_wrapped_cell_is_a_cell(name):
    cell = WRAPPERS[name]()
    params, state, xs = problem(cell)
    lengths = np.array([5, 0, 3])
    scan = jax.jit(lambda p, xs, s: unroll(cell, p, xs, s, lengths=lengths))(params, xs, state)
    loop = unroll_loop(cell, params, xs, state, lengths=lengths)
    assert scan[1].shape == (5, 3, cell.output_size)
    for a, b in zip(jax.tree.leaves(scan), jax.tree.leaves(loop), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, state)[1] ** 2)))(params)
    assert all(np.any(g != 0) for g in jax.tree.leaves(grads))


def test_stack_is_one_unroll_after_the_other():
    lower, upper = lstm(3), gru(2)
    params, state, xs = problem(stack(lower, upper))
    lower_state, ys = unroll(lower, params[0], xs, state[0])
    upper_state, ys = unroll(upper, params[1], ys, state[1])
    final_state, stacked = unroll(stack(lower, upper), params, xs, state)
    np.testing.assert_allclose(stacked, ys, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final_state[0].c, lower_state.c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final_state[1].h, upper_state.h, rtol=1e-5, atol=1e-6)


def test_stack_of_one_is_the_cell():
    params, state, xs = problem(lstm(3))
    _, ys = unroll(stack(lstm(3)), (params,), xs, (state,))
    np.testing.assert_array_equal(ys, unroll(lstm(3), params, xs, state)[1])


def test_dense_stack_feeds_every_layer_with_all_below():
    cells = lstm(3), gru(2), rnn(2)
    params, state, xs = problem(dense_stack(*cells), input_size=4)
    assert [p["w"].shape[0] for p in params] == [4, 4 + 3, 4 + 3 + 2]
    seen = [xs]
    for cell, cell_params, cell_state in zip(cells, params, state, strict=True):
        seen.append(unroll(cell, cell_params, np.concatenate(seen, -1), cell_state)[1])
    _, ys = unroll(dense_stack(*cells), params, xs, state)
    np.testing.assert_allclose(ys, np.concatenate(seen[1:], -1), rtol=1e-5, atol=1e-6)


def test_residual_of_a_zero_cell_is_the_identity():
    cell = residual(rnn_linear(4))
    params, state, xs = problem(cell)
    _, ys = unroll(cell, jax.tree.map(np.zeros_like, params), xs, state)
    np.testing.assert_array_equal(ys, xs)
    _, with_cell = unroll(cell, params, xs, state)
    np.testing.assert_allclose(
        with_cell - xs, unroll(rnn_linear(4), params, xs, state)[1], 1e-4, 1e-5
    )


def test_layers_draw_different_parameters():
    params = stack(lstm(4), lstm(4)).init(jax.random.key(0), 4)
    assert np.any(params[0]["w"] != params[1]["w"])


@pytest.mark.parametrize("wrap", [stack, dense_stack])
@pytest.mark.parametrize("cells", [(), (8,), ([lstm(2), lstm(2)],)])
def test_bad_stacks_are_refused_with_an_example(wrap, cells):
    with pytest.raises(InputError, match=rf"{wrap.__name__}\(lstm\(128\), lstm\(128\)\)"):
        wrap(*cells)


def test_residual_refuses_another_size():
    with pytest.raises(InputError, match="inputs of size 5 and a cell of output size 4"):
        residual(lstm(4)).init(jax.random.key(0), 5)


@pytest.mark.parametrize("factory", [rnn, gru, lstm])
def test_leaky_with_alpha_0_is_the_cell(factory):
    cell = factory(3)
    params, state, xs = problem(cell)
    for a, b in zip(
        *(jax.tree.leaves(unroll(c, params, xs, state)) for c in (cell, leaky(cell, 0.0))),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_leaky_units_forget_with_their_time_constant():
    """With F = 0, sₜ = αᵗ s₀; fed by a constant, s approaches it as 1 - αᵗ."""
    cell = leaky(rnn_linear(3), 0.9)
    params, state, xs = problem(cell, steps=30)
    still = jax.tree.map(np.zeros_like, params)
    final_state, ys = unroll(cell, still, xs, state)
    np.testing.assert_allclose(final_state.h, 0.9**30 * state.h, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ys[-1], final_state.h)
    fed = still | {"b": np.array([1.0, -2.0, 3.0], np.float32)}
    _, ys = unroll(cell, fed, xs, jax.tree.map(np.zeros_like, state))
    rise = 1 - 0.9 ** np.arange(1, 31)
    np.testing.assert_allclose(
        ys, np.broadcast_to(rise[:, None, None] * fed["b"], ys.shape), rtol=1e-5
    )


def test_time_skip_reads_the_output_of_lag_steps_ago():
    lag, inner = 3, gru(4)
    cell = time_skip(inner, lag)
    params, state, xs = problem(cell, steps=8)
    _, ys = unroll(cell, params, xs, state)
    assert params["w"].shape[0] == 4 + 4
    seen = np.concatenate([np.moveaxis(state.past, -2, 0), ys])[:8]
    _, expected = unroll(inner, params, np.concatenate([xs, seen], axis=-1), state.inner)
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)


def test_time_skip_carries_gradients_over_lag_steps_at_once():
    """Without recurrence of its own, the cell's only way back is through the skip."""
    lag, cell = 4, time_skip(rnn(3), 4)
    params, state, xs = problem(cell, steps=13, batch=())
    params["u"] = 0 * params["u"]

    def last(xs):
        return unroll(cell, params, xs, state)[1][-1].sum()

    reached = np.abs(jax.grad(last)(xs)).sum(axis=1) > 0
    np.testing.assert_array_equal(np.nonzero(reached)[0] % lag, 0)
    assert reached.sum() == 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: leaky(rnn(3), 1.0), r"alpha must lie in \[0, 1\), got 1.0"),
        (lambda: leaky(rnn(3), -0.1), r"alpha must lie in \[0, 1\), got -0.1"),
        (lambda: leaky(stack(rnn(3)), 0.5), "takes a cell whose output is its h"),
        (lambda: time_skip(rnn(3), 0), "lag must be an integer of at least 1, got 0"),
    ],
)
def test_leaky_and_time_skip_refuse(build, message):
    with pytest.raises(InputError, match=message):
        build()
