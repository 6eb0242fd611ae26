"""Noise around a cell: which tensor, one mask for what, and nothing without a key."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    CELLS,
    Cell,
    InputError,
    candidate_dropout,
    dense_stack,
    explain,
    gru,
    leaky,
    low_precision_products,
    lstm,
    naive_dropout,
    residual,
    rnn,
    rnn_linear,
    stack,
    state_noise,
    time_skip,
    unroll,
    unroll_loop,
    variational_dropout,
    weight_drop,
    zoneout,
)
from tests.support.randomness import problem
from tests.support.tiers import long_only

KINDS = {
    "variational": lambda cell, rate: variational_dropout(cell, inputs=rate, states=rate),
    "naive": naive_dropout,
    "candidate": candidate_dropout,
    "weight_drop": weight_drop,
    "zoneout": lambda cell, rate: zoneout(cell, {"h": rate}),
    "state_noise": state_noise,
}


def some_kinds(*always):
    """Those kinds always, the others in the long tier."""
    return [kind if kind in always else long_only(kind) for kind in KINDS]


KEY = jax.random.key(5)
B, H, T = 4, 8, 6
ALL = ["lstm", *(long_only(name) for name in CELLS if name != "lstm")]


class Count(NamedTuple):
    h: jax.Array


def counter():
    """h' = I h + x: after t ones a unit has counted the steps since it was last dropped."""

    def step(params, state, x):
        h = x + state.h @ params["u"]
        return Count(h), h

    return Cell(
        lambda key, size: {"u": jnp.eye(H)},
        lambda batch=(): Count(jnp.zeros((*batch, H))),
        step,
        H,
    )


def counted(cell):
    """The counts `[T, B, H]` of ones, in training."""
    _, ys = unroll(cell, {"u": jnp.eye(H)}, jnp.ones((T, B, H)), key=KEY)
    return np.asarray(ys)


def takes(kind, cell):
    """Whether the kind makes sense for the cell: refusals have their own tests."""
    try:
        return KINDS[kind](cell, 0.5).init(jax.random.key(0), 4) and KINDS[kind](cell, 0.5)
    except InputError:
        return None


def test_a_variational_mask_of_the_state_holds_for_all_steps_of_a_row():
    rate = 0.5
    counts = counted(variational_dropout(counter(), states=rate))
    kept = np.cumsum([(1 / (1 - rate)) ** t for t in range(T)])
    is_kept = counts[1] > 1
    np.testing.assert_array_equal(counts, np.where(is_kept, kept[:, None, None], 1.0))
    assert 0.2 < is_kept.mean() < 0.8
    assert len({row.tobytes() for row in is_kept}) == B


def test_a_variational_mask_of_the_input_holds_for_all_steps_of_a_row():
    counts = counted(variational_dropout(counter(), inputs=0.5))
    steps = np.arange(1, T + 1)[:, None, None]
    assert set(np.unique(counts / steps)) == {0.0, 2.0}
    assert np.ptp(counts / steps, axis=0).max() == 0
    assert len({row.tobytes() for row in counts[0]}) == B


def test_a_naive_mask_is_new_at_every_step():
    counts = counted(naive_dropout(counter(), 0.5))
    dropped = counts[1:] == 1
    assert 0.2 < dropped.mean() < 0.8
    assert len({dropped[t, row].tobytes() for t in range(T - 1) for row in range(B)}) > B


def test_weights_are_dropped_for_all_rows_and_steps_alike():
    counts = counted(weight_drop(counter(), 0.5))
    assert np.ptp(counts, axis=1).max() == 0
    assert set(np.unique(counts[1])) == {1.0, 3.0}
    params = lstm(H).init(KEY, 3)
    cell = weight_drop(lstm(H), 0.25)
    mask = cell.noise.per_sequence(KEY, (B,), 3)[0]["u"]
    assert mask.shape == params["u"].shape
    assert set(np.unique(mask)) == {0.0, np.float32(1) / np.float32(0.75)}
    assert 0.1 < np.mean(mask == 0) < 0.4


def test_zoneout_keeps_units_for_single_steps():
    counts = counted(zoneout(counter(), {"h": 0.5}))
    moves = np.diff(counts, axis=0, prepend=0)
    assert set(np.unique(moves)) == {0.0, 1.0}
    assert len({moves[t, row].tobytes() for t in range(T) for row in range(B)}) > B
    frozen = counted(zoneout(counter(), {"h": 1.0}))
    assert not frozen.any()


def test_zoneout_without_a_key_is_its_expectation():
    params, state, xs = problem(lstm(H))
    rates = {"c": 0.5, "h": 0.05}
    new, y = zoneout(lstm(H), rates).step(params, state, xs[0])
    plain, _ = lstm(H).step(params, state, xs[0])
    np.testing.assert_allclose(new.c, 0.5 * state.c + 0.5 * plain.c, rtol=1e-6)
    np.testing.assert_allclose(new.h, 0.05 * state.h + 0.95 * plain.h, rtol=1e-6)
    np.testing.assert_array_equal(y, new.h)


def test_state_noise_is_drawn_for_every_step_row_and_unit():
    steps = np.diff(counted(state_noise(counter(), 0.1)), axis=0) - 1
    assert 0.07 < steps.std() < 0.13
    assert len(np.unique(steps)) > T * B


@pytest.mark.parametrize("cell", [lstm(H), gru(H), CELLS["mgu"](H)], ids=["lstm", "gru", "mgu"])
def test_a_dropped_candidate_leaves_what_the_state_keeps(cell):
    params, state, xs = problem(cell)
    noise = candidate_dropout(cell, 0.5).noise
    nothing = jnp.zeros((3, H))
    new, _ = noise.step(params, (((), ()), (nothing, ())), state, xs[0])
    gates = cell.gates(params, state, xs[0])
    kept = {
        "LSTMGates": lambda: gates.f * state.c,
        "GRUGates": lambda: gates.z * state.h,
        "MGUGates": lambda: (1 - gates.f) * state.h,
    }[type(gates).__name__]()
    np.testing.assert_array_equal(new[-1], kept)  # c of an LSTM, h of the others


def test_the_mask_of_the_state_is_shared_by_the_gates_and_spares_what_is_copied():
    """A GRU with masked products, written out."""
    cell = gru(H)
    params, state, xs = problem(cell)
    mask = np.where(np.arange(H) % 3, 2.0, 0.0).astype(np.float32) * np.ones((3, 1), np.float32)
    noisy = variational_dropout(cell, states=0.5).noise.step
    ones = jnp.ones((3, 4))
    new, _ = noisy(params, (((ones, mask), ()), ((), ())), state, xs[0])
    _, z, n = cell.gates(params, state._replace(h=state.h * mask), xs[0])
    np.testing.assert_allclose(new.h, (1 - z) * n + z * state.h, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_over_keys_is_the_evaluation_of_a_linear_cell(kind):
    """Over two steps, so that no mask that holds for a sequence is squared."""
    if kind == "candidate":
        pytest.skip("a linear cell has no gate")
    params, state, xs = problem(rnn_linear(H), steps=2)
    cell = KINDS[kind](rnn_linear(H), 0.5)
    start = None if kind in ("variational", "weight_drop") else state
    keys = jax.random.split(KEY, 20_000)
    ys = jax.jit(jax.vmap(lambda key: unroll(cell, params, xs, start, key=key)[1]))(keys)
    error = np.std(ys, axis=0) / np.sqrt(len(keys))
    difference = np.abs(np.mean(ys, axis=0) - unroll(cell, params, xs, start)[1])
    assert np.all(difference <= 5 * error + 1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_no_noise_is_no_noise_bit_for_bit(kind, name):
    cell = CELLS[name](H)
    if (noisy := takes(kind, cell)) is None:
        pytest.skip("refused")
    params, state, xs = jax.tree.map(jnp.asarray, problem(cell))
    none = KINDS[kind](cell, 0.0)
    expected = cell.step(params, state, xs[0])
    masks = none.noise.per_sequence(KEY, (3,), 4), none.noise.per_step(KEY, (3,), 4)
    actual = none.noise.step(params, masks, state, xs[0])
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    if kind != "zoneout":
        for a, b in zip(
            jax.tree.leaves(noisy.step(params, state, xs[0])),
            jax.tree.leaves(expected),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.numeric
@pytest.mark.parametrize("kind", some_kinds("variational", "zoneout"))
@pytest.mark.parametrize("name", ALL)
def test_values_and_gradients_are_those_of_lax_scan(kind, name):
    cell = CELLS[name](3)
    if (noisy := takes(kind, cell)) is None:
        pytest.skip("refused")
    with jax.enable_x64(True):
        arguments = problem(cell, dtype=np.float64)
        lengths = np.array([5, 0, 2])

        def total(forward_mode, params, state, xs):
            final, ys = unroll(
                noisy, params, xs, state, lengths=lengths, key=KEY, forward_mode=forward_mode
            )
            return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves((final, ys)))

        @jax.jit
        def both(arguments):
            return [
                jax.value_and_grad(total, argnums=(1, 2, 3))(mode, *arguments)
                for mode in (False, True)
            ]

        ours, theirs = both(arguments)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", some_kinds("naive"))
def test_padding_consumes_no_randomness(kind):
    cell = KINDS[kind](lstm(H), 0.5)
    params, state, xs = problem(lstm(H))
    final, ys = unroll(cell, params, xs, state, key=KEY)
    padded = np.concatenate([xs, np.full((4, *xs.shape[1:]), np.nan, np.float32)])
    lengths = np.full(3, len(xs))
    padded_final, padded_ys = unroll(cell, params, padded, state, lengths=lengths, key=KEY)
    np.testing.assert_allclose(padded_ys[: len(xs)], ys, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(padded_final.h, final.h, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["variational", "weight_drop"])
def test_a_sequence_read_in_two_halves_keeps_its_masks(kind):
    cell = KINDS[kind](lstm(H), 0.5)
    params, state, xs = problem(lstm(H), steps=6)
    _, whole = unroll(cell, params, xs, state, key=KEY)
    middle, first = unroll(cell, params, xs[:3], state, key=KEY)
    _, second = unroll(cell, params, xs[3:], middle, key=KEY)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-5, atol=1e-6)
    assert np.abs(unroll(cell, params, xs, state, key=jax.random.key(6))[1] - whole).max() > 0.01


@pytest.mark.parametrize("kind", some_kinds("variational", "weight_drop"))
def test_products_leave_the_loop_as_without_noise(kind):
    cell = lstm(H)
    params, state, xs = problem(cell)
    noise = KINDS[kind](cell, 0.5).noise
    masks = noise.per_sequence(KEY, (3,), 4)

    def step(params, state, inputs):
        (params, masks), (x, masks_t) = params, inputs
        return noise.step(params, (masks, masks_t), state, x)

    of_step = noise.per_step(KEY, (3,), 4)
    lines = explain(step, (params, masks), state, (xs[0], of_step)).splitlines()
    plain = explain(cell.step, params, state, xs[0]).splitlines()
    for word in ("hoisted", "deferred"):
        assert [line for line in lines if line.startswith(word)] == [
            line for line in plain if line.startswith(word)
        ]
    assert not [line for line in lines if "summed step by step" in line]


WHOLES = {
    "stack": lambda a, b: stack(a, b),
    "dense_stack": lambda a, b: dense_stack(a, b),
    "residual": lambda a, b: stack(a, residual(b)),
    "leaky": lambda a, b: stack(a, leaky(b, 0.3)),
    "time_skip": lambda a, b: stack(time_skip(a, 2), b),
    "low precision": lambda a, b: low_precision_products(stack(a, b)),
    "around one another": lambda a, b: zoneout(
        weight_drop(variational_dropout(candidate_dropout(lstm(H), 0.3), states=0.3), 0.3),
        {"h": 0.2, "c": 0.4},
    ),
}


@pytest.mark.parametrize(
    "whole", ["dense_stack", "around one another", *map(long_only, [*WHOLES][2:-1])]
)
def test_what_wraps_noisy_cells_is_noisy(whole):
    cell = WHOLES[whole](
        variational_dropout(rnn(H), states=0.5, inputs=0.2), naive_dropout(gru(H), 0.5)
    )
    params, state, xs = problem(cell)
    final, ys = unroll(cell, params, xs, state, key=KEY)
    expected = unroll_loop(cell, params, xs, state, key=KEY)
    for a, b in zip(jax.tree.leaves((final, ys)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    without = unroll(cell, params, xs, state)[1]
    others = unroll(cell, params, xs, state, key=jax.random.key(6))[1]
    assert np.abs(ys - without).max() > 0.01 < np.abs(ys - others).max()


def test_a_rate_may_be_an_array_that_a_population_varies():
    params, state, xs = problem(lstm(H))

    def last(rate):
        return unroll(variational_dropout(lstm(H), states=rate), params, xs, state, key=KEY)[1]

    several = jax.jit(jax.vmap(last))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(several[0], unroll(lstm(H), params, xs, state)[1], rtol=1e-5)
    np.testing.assert_allclose(several[1], last(0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: variational_dropout(lstm(H), states=1.0), r"states must lie in \[0, 1\), got 1.0"),
        (lambda: naive_dropout(lstm(H), -0.1), r"rate must lie in \[0, 1\), got -0.1"),
        (
            lambda: naive_dropout(stack(rnn(2)), 0.5),
            "naive_dropout takes a cell whose state has an h",
        ),
        (lambda: naive_dropout(CELLS["ind_rnn"](H), 0.5), "this cell has no product of h"),
        (lambda: variational_dropout(CELLS["urnn"](H), states=0.5), "has no product of h"),
        (lambda: candidate_dropout(rnn(H), 0.5), "the candidate g or n"),
        (lambda: candidate_dropout(weight_drop(lstm(H), 0.5), 0.5), "put other noise around it"),
        (lambda: weight_drop(stack(rnn(2)), 0.5), "named u"),
        (lambda: zoneout(gru(H), {"c": 0.5}), "rates of .'c'. for a state of .'h',."),
        (lambda: zoneout(gru(H), {"h": 1.5}), r"the rate of h must lie in \[0, 1\], got 1.5"),
        (lambda: zoneout(CELLS["mamba"](H), {"h": 0.5}), "whose output is the h of its state"),
        (lambda: weight_drop(CELLS["min_gru"](H), 0.5), "recurrent matrices named u"),
        (lambda: state_noise(gru(H), -1.0), "stddev must be a finite number of at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda cell: weight_drop(cell, 0.5),
        lambda cell: variational_dropout(cell, states=0.5),
        lambda cell: naive_dropout(cell, 0.5),
    ],
)
def test_noise_goes_around_a_cell_that_takes_its_own_size_alone(wrap):
    cell = wrap(residual(lstm(4)))
    params = cell.init(jax.random.key(0), 4)
    xs = jax.random.normal(jax.random.key(1), (5, 3, 4))
    calm, noisy = (unroll(cell, params, xs, key=key)[1] for key in (None, jax.random.key(2)))
    assert not np.allclose(calm, noisy)
    np.testing.assert_allclose(calm, unroll(residual(lstm(4)), params, xs)[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("residual", residual),
        ("leaky", lambda cell: leaky(cell, 0.5)),
        ("time_skip", lambda cell: time_skip(cell, 2)),
        ("weight_drop", lambda cell: weight_drop(cell, 0.5)),
        ("zoneout", lambda cell: zoneout(cell, {"c": 0.1})),
        ("state_noise", lambda cell: state_noise(cell, 0.1)),
        ("naive_dropout", lambda cell: naive_dropout(cell, 0.1)),
        ("candidate_dropout", lambda cell: candidate_dropout(cell, 0.1)),
        ("variational_dropout", variational_dropout),
        ("low_precision_products", low_precision_products),
    ],
)
def test_what_is_no_cell_is_refused_in_a_sentence(name, wrap):
    with pytest.raises(
        InputError, match=rf"{name} takes a cell, such as lstm\(128\), got <function"
    ):
        wrap(lstm)


def test_other_arguments_that_are_none():
    with pytest.raises(InputError, match=r"rates by the parts of the state, .* got 0.1"):
        zoneout(lstm(8), 0.1)
    with pytest.raises(InputError, match="the rate of c must lie in"):
        zoneout(lstm(8), {"c": "a"})
    with pytest.raises(InputError, match="dtype must be a float type"):
        low_precision_products(lstm(8), jnp.int8)
    cell = weight_drop(lstm(4), 0.5)
    params = cell.init(jax.random.key(0), 3)
    with pytest.raises(InputError, match=r"key must be a PRNG key, as jax.random.key\(0\), got 0"):
        unroll(cell, params, jnp.zeros((2, 3)), key=0)
    with pytest.raises(InputError, match="activation must be a function"):
        rnn(4, "relu")
    for make, wrong in (
        ("cayley_rnn", {"negative": 0.5}),
        ("mamba", {"min_step": 0.0}),
        ("mamba", {"min_step": 1.0, "max_step": 0.1}),
        ("lru", {"max_phase": -1.0}),
    ):
        with pytest.raises(InputError):
            CELLS[make](8, **wrong)
