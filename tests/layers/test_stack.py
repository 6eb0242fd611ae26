"""The stack equals its layers one by one; connections, directions, lengths and carried states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import InputError, gru, lstm, naive_dropout, weight_drop
from seqjax.layers import RNN, Bidirectional, Stack
from seqjax.layers.stack import CONNECTIONS
from seqjax.training.modules import split_model
from tests.support.randomness import randomise

B, T, D, H = 3, 6, 4, 5
LENGTHS = np.array([6, 2, 4])


def make(cells=(lstm(H), gru(H)), seed=0, **kwargs):
    stack = Stack(cells, D, rngs=nnx.Rngs(0), **kwargs)
    graphdef, params, *_ = split_model(stack)
    return nnx.merge(graphdef, randomise(params, seed))


def inputs(seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(B, T, D)), jnp.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(stack, xs, lengths=None):
    """Layer after layer, joined in NumPy."""
    if lengths is not None:
        xs = np.where((np.arange(T) < lengths[:, None])[..., None], xs, 0)
    for number, layer in enumerate(stack.layers):
        xs = np.asarray(xs)
        _, ys = layer(jnp.asarray(xs), lengths=lengths)
        ys = np.asarray(ys)
        if stack.connections == "dense":
            xs = np.concatenate([xs, ys], -1)
        elif stack.connections == "plain" or not number:
            xs = ys
        elif stack.connections == "residual":
            xs = xs + ys
        else:
            gate = stack.carry_gates[number - 1]
            t = sigmoid(xs @ np.asarray(gate.kernel[...]) + np.asarray(gate.bias[...]))
            xs = t * ys + (1 - t) * xs
    return xs


@pytest.mark.parametrize(
    ("connections", "bidirectional"),
    [
        *((name, False) for name in CONNECTIONS),
        ("highway", True),
        *(pytest.param(name, True, marks=pytest.mark.long) for name in CONNECTIONS[:-1]),
    ],
)
def test_equals_its_layers(connections, bidirectional):
    stack = make(connections=connections, bidirectional=bidirectional)
    for lengths in (None, LENGTHS):
        _, ys = stack(inputs(), lengths=lengths)
        wanted = by_hand(stack, inputs(), lengths)
        assert ys.shape == (B, T, stack.output_size)
        np.testing.assert_allclose(ys, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_padding_is_nothing(connections):
    """Outputs past a row's end are zeros, and NaN there reaches neither values nor gradients."""
    stack = make(connections=connections)
    valid = (np.arange(T) < LENGTHS[:, None])[..., None]
    clean, dirty = (jnp.where(valid, inputs(), fill) for fill in (0.0, jnp.nan))
    _, ys = stack(dirty, lengths=LENGTHS)
    np.testing.assert_array_equal(ys, stack(clean, lengths=LENGTHS)[1])
    assert not np.any(np.where(valid, 0, ys))
    gradient = jax.grad(lambda xs: jnp.sum(stack(xs, lengths=LENGTHS)[1] ** 2))(dirty)
    assert not np.any(np.where(valid, 0, gradient))


@pytest.mark.parametrize("connections", ["residual", "highway"])
def test_above_another_layer_the_lowest_is_connected_too(connections):
    """Two layers are the upper part of three whose input is as wide as they are."""
    stack = Stack([gru(H)] * 2, H, connections=connections, above=True, rngs=nnx.Rngs(0))
    whole = Stack([gru(H)] * 3, H, connections=connections, rngs=nnx.Rngs(0))
    whole.layers = nnx.List([whole.layers[0], *stack.layers])
    if connections == "highway":
        whole.carry_gates = stack.carry_gates
    _, below = whole.layers[0](inputs()[..., :1] @ np.ones((1, H), np.float32))
    found = stack(below)[1]
    np.testing.assert_allclose(
        found, whole(inputs()[..., :1] @ np.ones((1, H), np.float32))[1], rtol=1e-6
    )
    with pytest.raises(InputError, match="layers of one output size, got 4 below 5"):
        Stack([gru(H)], 4, connections=connections, above=True, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("connections", CONNECTIONS)
def test_it_says_which_features_read_backward(connections, bidirectional):
    """Those that what stands after a row's first step can change there; of more layers, each its own."""
    how = {"connections": connections, "bidirectional": bidirectional}
    stack, xs = make((gru(H),), **how), inputs()
    changed = stack(xs.at[:, -1].add(1))[1][:, 0] != stack(xs)[1][:, 0]
    np.testing.assert_array_equal(stack.backward_features, np.asarray(changed).any(0))
    assert stack.backward_features.any() == bidirectional
    two = make((gru(H), gru(H)), **how).backward_features
    of_layer = stack.backward_features[-(2 if bidirectional else 1) * H :]
    below = [np.zeros(D, bool), of_layer] if connections == "dense" else []
    np.testing.assert_array_equal(two, np.concatenate([*below, of_layer]))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_state_has_the_precision_of_the_computation(dtype, bidirectional):
    with jax.enable_x64(True):
        stack = make(bidirectional=bidirectional)
        graphdef, params, *_ = split_model(stack)
        stack = nnx.merge(graphdef, jax.tree.map(lambda a: a.astype(dtype), params))
        state, ys = stack(inputs().astype(dtype))
        assert {a.dtype for a in jax.tree.leaves((state, ys))} == {jnp.dtype(dtype)}
        if dtype == jnp.float64 and not bidirectional:  # what a loop of steps begins with
            begun = stack.initial_state(B)
            assert jax.tree.map(lambda a: a.dtype, begun) == jax.tree.map(lambda a: a.dtype, state)


def test_one_cell_is_no_sequence_of_cells():
    with pytest.raises(InputError, match=r"takes a sequence of cells: write \[cell\] for one"):
        Stack(lstm(H), D, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_step_by_step_equals_the_whole(connections):
    stack = make(connections=connections)
    xs = inputs()
    state = jax.tree.map(jnp.asarray, randomise(stack.initial_state(B), 3))
    final, ys = stack(xs, state)
    for t in range(T):
        state, y = stack.step(xs[:, t], state)
        np.testing.assert_allclose(y, ys[:, t], rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), state, final)


def test_a_carried_state_joins_two_pieces():
    stack = make()
    xs = inputs()
    whole, ys = stack(xs)
    middle, first = stack(xs[:, :2])
    end, second = stack(xs[:, 2:], middle)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), ys, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), end, whole)


def test_both_directions_are_mirror_images():
    layer = Bidirectional(gru(H), D, rngs=nnx.Rngs(0))
    xs = inputs()
    _, ys = layer(xs, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        own = xs[row : row + 1, :length]
        _, forward = layer.forward(own)
        _, backward = layer.backward(own[:, ::-1])
        wanted = np.concatenate([forward, np.asarray(backward)[:, ::-1]], -1)
        np.testing.assert_allclose(ys[row, :length], wanted[0], rtol=1e-5, atol=1e-6)
        assert not np.any(np.asarray(ys)[row, length:])


def test_dropout_needs_a_key_and_falls_on_what_goes_up():
    stack = make(dropout=0.5)
    xs = inputs()
    _, plain = stack(xs)
    _, again = stack(xs)
    _, dropped = stack(xs, dropout_key=jax.random.key(0))
    np.testing.assert_array_equal(plain, again)
    share = np.mean(np.asarray(dropped) == 0)
    assert 0.3 < share < 0.7  # of the last connection's mask


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"cells": ()}, "at least one cell"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\)"),
        ({"connections": "skip"}, "connections must be one of plain"),
        ({"cells": (lstm(4), lstm(5)), "connections": "residual"}, "layers of one output size"),
        ({"cells": (lstm(4), lstm(5)), "connections": "highway"}, "layers of one output size"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        Stack(kwargs.pop("cells", (lstm(H),)), D, rngs=nnx.Rngs(0), **kwargs)


def test_a_bidirectional_stack_has_no_step():
    stack = make(bidirectional=True)
    with pytest.raises(InputError, match="must see the end first"):
        stack.step(inputs()[:, 0], stack.initial_state(B))


def test_the_same_mask_drops_the_same_units_at_all_steps():
    stack = make(dropout=0.5, same_mask=True)
    _, ys = stack(inputs(), dropout_key=jax.random.key(3))
    dropped = np.asarray(ys) == 0
    assert 0.2 < dropped.mean() < 0.8
    assert np.array_equal(dropped.any(1), dropped.all(1))
    assert len({row.tobytes() for row in dropped[:, 0]}) == B


def test_the_noise_of_cells_is_drawn_with_the_dropout_key_alone():
    cells = [weight_drop(lstm(H), 0.5), naive_dropout(gru(H), 0.5)]
    for bidirectional in (False, True):
        plain = make(bidirectional=bidirectional)
        noisy = make(cells=cells, bidirectional=bidirectional)
        expected = plain(inputs())[1]
        np.testing.assert_array_equal(noisy(inputs())[1], expected)
        drawn = [noisy(inputs(), dropout_key=jax.random.key(k))[1] for k in (0, 0, 1)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert not np.allclose(drawn[0], expected)
        assert not np.allclose(drawn[0], drawn[2])


@pytest.mark.parametrize("make", [RNN, Bidirectional])
def test_what_is_not_batch_first_is_refused_in_those_words(make):
    layer = make(gru(H), D, rngs=nnx.Rngs(0))
    for shape in ((T, D), (B, T, D + 1), (1, B, T, D)):
        with pytest.raises(InputError, match=r"takes \[B, T, 4\], batch first, got"):
            layer(jnp.ones(shape))
    with pytest.raises(InputError, match=r"lengths must be integers of shape \(3,\), one for each"):
        layer(inputs(), lengths=jnp.ones(T, int))
