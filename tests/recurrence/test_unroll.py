"""What `unroll` promises about time: lengths, padding, direction, truncation, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    Cell,
    InputError,
    bidirectional,
    gru,
    lstm,
    rnn,
    unroll,
    unroll_loop,
    unroll_truncated,
)
from tests.support.randomness import problem

pytestmark = pytest.mark.usefixtures("strict_promotion")

CELL = lstm(3)
LENGTHS = np.array([5, 2, 0, 4])


def ragged(seed=0):
    return problem(CELL, steps=5, batch=(4,), seed=seed)


def truncated_to_all(cell, params, xs, state, *, lengths, reverse):
    """Truncation that cuts nothing: of all steps in one chunk."""
    return unroll_truncated(cell, params, xs, state, chunk_length=99, lengths=lengths)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("run", [unroll, unroll_loop])
def test_each_row_equals_its_own_unpadded_run(run, reverse):
    params, state, xs = ragged()
    final_state, ys = run(CELL, params, xs, state, lengths=LENGTHS, reverse=reverse)
    for row, length in enumerate(LENGTHS):
        row_state = jax.tree.map(lambda s, row=row: s[row], state)
        assert np.all(ys[length:, row] == 0)
        if length:
            row_state, row_ys = unroll(CELL, params, xs[:length, row], row_state, reverse=reverse)
            np.testing.assert_allclose(ys[:length, row], row_ys, rtol=1e-5, atol=1e-6)
        for actual, expected in zip(final_state, row_state, strict=True):
            np.testing.assert_allclose(actual[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.numeric
@pytest.mark.parametrize("reverse", [False, True])
def test_nan_in_the_padding_changes_neither_values_nor_gradients(reverse):
    params, state, xs = ragged()
    padding = np.arange(5)[:, None] >= LENGTHS

    def loss(params, state, xs):
        final_state, ys = unroll(CELL, params, xs, state, lengths=LENGTHS, reverse=reverse)
        return jnp.sum(ys**2) + jnp.sum(final_state.c**3), (final_state, ys)

    value_and_grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    results = []
    for fill in (0.0, np.nan, np.inf, 1e30):
        filled = np.where(padding[..., None], np.float32(fill), xs)
        results.append(value_and_grad(params, state, filled))
    for other in results[1:]:
        for a, b in zip(jax.tree.leaves(results[0]), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)
    x_grads = results[0][1][2]
    assert np.all(x_grads[padding] == 0)
    assert np.all(np.any(x_grads[~padding] != 0, axis=-1))


STEPS_WITHOUT_A_DERIVATIVE_AT_ZERO = {
    "norm": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    "layer norm": lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
    "logarithm": lambda x: jnp.log(x**2),
    "square root": lambda x: jnp.sqrt(jnp.abs(x)),
}


@pytest.mark.parametrize(
    ("run", "name", "reverse"),
    [
        *(
            pytest.param(unroll, name, False, marks=[] if name == "norm" else pytest.mark.long)
            for name in STEPS_WITHOUT_A_DERIVATIVE_AT_ZERO
        ),
        (unroll, "norm", True),
        (unroll_loop, "layer norm", True),
        (truncated_to_all, "logarithm", False),
    ],
)
def test_padding_is_no_input_that_a_step_has_no_derivative_at(run, name, reverse):
    """Values and gradients are those of the rows' own unpadded runs; length 0 changes nothing."""
    function = STEPS_WITHOUT_A_DERIVATIVE_AT_ZERO[name]

    def step(params, state, x):
        return CELL.step(params, state, function(x))

    cell = CELL._replace(step=step)
    with jax.enable_x64(True):
        params, state, xs = problem(cell, steps=5, batch=(4,), dtype=np.float64)
        padding = np.arange(5)[:, None] >= LENGTHS
        xs = np.where(padding[..., None], np.nan, xs)

        def padded(params, state, xs):
            final_state, ys = run(cell, params, xs, state, lengths=LENGTHS, reverse=reverse)
            return jnp.sum(ys**2) + jnp.sum(final_state.c**3)

        def row_by_row(params, state, xs):
            total = 0.0
            for row, length in enumerate(LENGTHS):
                row_state = jax.tree.map(lambda s, row=row: s[row], state)
                if length:
                    row_state, ys = unroll(
                        cell, params, xs[:length, row], row_state, reverse=reverse
                    )
                    total += jnp.sum(ys**2)
                total += jnp.sum(row_state.c**3)
            return total

        found = jax.jit(jax.value_and_grad(padded, (0, 1, 2)))(params, state, xs)
        expected = jax.jit(jax.value_and_grad(row_by_row, (0, 1, 2)))(params, state, xs)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_in_the_padding_time_does_not_run_backward():
    """A state that keeps the time, which the inputs tell: no step goes from the last time to the first."""

    def step(params, state, x):
        h, before = state
        kept = h * jnp.exp(-(x[..., -1:] - before) * params["rate"])
        h = jnp.tanh(x[..., :-1] @ params["w"] + kept)
        return (h, x[..., -1:]), h

    def start(batch):
        return jnp.zeros((*batch, 3)), jnp.zeros((*batch, 1))

    cell = Cell(lambda key, size: {}, start, step, 3)
    params = {"rate": jnp.float32(32.0), "w": jnp.ones((1, 3))}
    times = jnp.arange(1.0, 6)[:, None] * jnp.ones(2)
    xs = jnp.stack([jnp.sin(times), times], -1)
    gradient = jax.grad(lambda p: unroll(cell, p, xs, lengths=jnp.array([5, 4]))[1].sum())(params)

    def alone(p):
        return unroll(cell, p, xs[:, 0])[1].sum() + unroll(cell, p, xs[:4, 1])[1].sum()

    for a, b in zip(*map(jax.tree.leaves, (gradient, jax.grad(alone)(params))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_state_keeps_its_dtype_beside_inputs_and_parameters_that_are_no_real_numbers():
    half = Cell(
        lambda key, size: {"key": jax.random.key(0)},
        lambda batch: jnp.full((*batch, 2), 0.5),
        lambda params, state, x: (jnp.maximum(state, x.astype(state.dtype)),) * 2,
        2,
    )
    state, _ = unroll(half, half.init(jax.random.key(0), 2), jnp.zeros((3, 1, 2), int))
    assert state.dtype == jnp.float32
    np.testing.assert_array_equal(state, 0.5)


def test_an_output_may_be_a_tree():
    cell = CELL._replace(
        step=lambda p, s, x: (lambda new: (new[0], {"y": new[1], "x": x}))(CELL.step(p, s, x))
    )
    params, state, xs = ragged()
    _, ys = unroll(cell, params, xs, state, lengths=LENGTHS)
    _, expected = unroll(CELL, params, xs, state, lengths=LENGTHS)
    np.testing.assert_allclose(ys["y"], expected, rtol=1e-6)
    live = np.arange(5)[:, None] < LENGTHS
    np.testing.assert_array_equal(ys["x"], np.where(live[..., None], xs, 0))


@pytest.mark.numeric
def test_length_zero_returns_the_initial_state_bit_for_bit():
    params, state, xs = ragged()
    final_state, ys = unroll(CELL, params, xs * np.nan, state, lengths=np.zeros(4, int))
    for actual, expected in zip(final_state, state, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert np.all(ys == 0)


def test_lengths_with_two_batch_axes_and_under_jit():
    params, state, xs = problem(CELL, steps=4, batch=(2, 3))
    lengths = np.array([[4, 1, 0], [2, 3, 4]])
    final_state, ys = jax.jit(lambda n: unroll(CELL, params, xs, state, lengths=n))(lengths)
    for row in np.ndindex(2, 3):
        n = lengths[row]
        assert np.all(ys[n:, *row] == 0)
        if n:
            row_state = jax.tree.map(lambda s, row=row: s[row], state)
            expected, _ = unroll(CELL, params, xs[:n, *row], row_state)
            np.testing.assert_allclose(final_state.c[row], expected.c, rtol=1e-5, atol=1e-6)


def test_a_single_sequence_takes_a_scalar_length():
    params, state, xs = problem(CELL, batch=())
    final_state, ys = unroll(CELL, params, xs, state, lengths=np.int32(2))
    expected, _ = unroll(CELL, params, xs[:2], state)
    np.testing.assert_allclose(final_state.h, expected.h, rtol=1e-5, atol=1e-6)
    assert ys.shape == (5, 3)


def test_reverse_is_forward_on_the_reversed_sequence():
    params, state, xs = ragged()
    final_state, ys = unroll(CELL, params, xs, state, reverse=True)
    flipped_state, flipped_ys = unroll(CELL, params, xs[::-1], state)
    np.testing.assert_allclose(ys, flipped_ys[::-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final_state.c, flipped_state.c, rtol=1e-5, atol=1e-6)


def test_a_split_sequence_carries_its_state():
    params, state, xs = ragged()
    middle, first = unroll(CELL, params, xs[:2], state)
    final_state, second = unroll(CELL, params, xs[2:], middle)
    expected_state, expected = unroll(CELL, params, xs, state)
    np.testing.assert_allclose(np.concatenate([first, second]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final_state.c, expected_state.c, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_length", [1, 2, 3, 5, 9])
def test_truncation_keeps_values_and_cuts_gradients_between_chunks(chunk_length):
    params, state, xs = ragged()
    whole = unroll(CELL, params, xs, state)
    chunked = unroll_truncated(CELL, params, xs, state, chunk_length=chunk_length)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(chunked), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    def last_output(xs, state):
        return jnp.sum(
            unroll_truncated(CELL, params, xs, state, chunk_length=chunk_length)[1][-1] ** 2
        )

    x_grads, state_grads = jax.grad(last_output, argnums=(0, 1))(xs, state)
    reaches = np.any(x_grads != 0, axis=(1, 2))
    last_chunk_start = 4 // chunk_length * chunk_length
    np.testing.assert_array_equal(reaches, np.arange(5) >= last_chunk_start)
    assert np.any(state_grads.c != 0) == (last_chunk_start == 0)


def test_truncation_sums_the_gradients_of_separate_chunks():
    params, state, xs = ragged()

    def truncated(params):
        _, ys = unroll_truncated(CELL, params, xs, state, chunk_length=2, lengths=LENGTHS)
        return jnp.sum(ys**2)

    def chunk_by_chunk(params):
        carried, total = state, 0.0
        for start in (0, 2, 4):
            lengths = np.clip(LENGTHS - start, 0, 2)
            carried, ys = unroll(CELL, params, xs[start : start + 2], carried, lengths=lengths)
            carried, total = jax.lax.stop_gradient(carried), total + jnp.sum(ys**2)
        return total

    actual, expected = jax.grad(truncated)(params), jax.grad(chunk_by_chunk)(params)
    for name in params:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-6)


def test_bidirectional_is_two_unrolls_with_lengths_respected():
    forward, backward = lstm(3), gru(2)
    forward_params, forward_state, xs = problem(forward, batch=(4,))
    backward_params, backward_state, _ = problem(backward, batch=(4,), seed=9)
    (final_f, final_b), ys = bidirectional(
        (forward, backward),
        (forward_params, backward_params),
        xs,
        (forward_state, backward_state),
        lengths=LENGTHS,
    )
    assert ys.shape == (5, 4, 5)
    for row, n in enumerate(LENGTHS):
        if n == 0:
            np.testing.assert_array_equal(final_b.h[row], backward_state.h[row])
            continue
        state_b, ys_b = unroll(
            backward,
            backward_params,
            xs[:n, row][::-1],
            jax.tree.map(lambda s, row=row: s[row], backward_state),
        )
        np.testing.assert_allclose(ys[:n, row, 3:], ys_b[::-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(final_b.h[row], state_b.h, rtol=1e-5, atol=1e-6)
        state_f, ys_f = unroll(
            forward,
            forward_params,
            xs[:n, row],
            jax.tree.map(lambda s, row=row: s[row], forward_state),
        )
        np.testing.assert_allclose(ys[:n, row, :3], ys_f, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(final_f.c[row], state_f.c, rtol=1e-5, atol=1e-6)
        assert np.all(ys[n:, row] == 0)


def test_computes_in_the_widest_precision_of_inputs_and_parameters():
    cell = rnn(3)
    params, _, xs = problem(cell)
    with jax.numpy_dtype_promotion("standard"):
        final_state, ys = unroll(cell, params, jnp.asarray(xs, jnp.bfloat16))
    assert ys.dtype == final_state.h.dtype == jnp.float32


@pytest.mark.parametrize(
    ("xs", "kwargs", "message"),
    [
        (np.zeros(5, np.float32), {}, r"takes a sequence \[T, ..., D\], got .* shape \(5,\)"),
        (np.zeros((0, 2, 4), np.float32), {}, r"at least one time step, got .*\(0, 2, 4\)"),
        (np.zeros((5, 2, 4), np.float32), {"lengths": [5]}, r"of shape \(2,\)"),
        (np.zeros((5, 2, 4), np.float32), {"lengths": [5.0, 1.0]}, "must be integers"),
    ],
)
def test_errors_name_what_was_given(xs, kwargs, message):
    params = CELL.init(jax.random.key(0), 4)
    for run in (unroll, unroll_loop):
        with pytest.raises(InputError, match=message):
            run(CELL, params, xs, **kwargs)


def test_with_lengths_every_leaf_of_the_state_has_a_row_for_each():
    """A counter for all rows cannot stop at each row's own last step."""

    def step(params, state, x):
        h, count = state
        h, y = CELL.step(params, h, x)
        return (h, count + 1), y

    cell = CELL._replace(step=step)
    params, state, xs = ragged()
    for run in (unroll, unroll_loop):
        (_, count), _ = run(cell, params, xs, (state, jnp.int32(0)))
        assert count == 5
        (_, count), _ = run(cell, params, xs, (state, jnp.zeros(4, int)), lengths=LENGTHS)
        np.testing.assert_array_equal(count, LENGTHS)
        with pytest.raises(
            InputError, match=r"state\[1\] has shape \(\): give it one entry per row"
        ):
            run(cell, params, xs, (state, jnp.int32(0)), lengths=LENGTHS)


def test_truncation_refuses_a_chunk_of_no_steps():
    params, state, xs = ragged()
    with pytest.raises(InputError, match="chunk_length must be an integer of at least 1, got 0"):
        unroll_truncated(CELL, params, xs, state, chunk_length=0)
