"""The recurrent batch normalisation LSTM against its equations in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import InputError
from seqjax.layers import BatchNormLSTM
from seqjax.training.modules import merge_model, split_model, statistics_of
from tests.support.randomness import randomise

B, T, D, H, STEPS = 5, 4, 3, 2, 3


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def twin(params, xs, lengths, state, known=None):
    """`(h, c, ys, moments of every step)`, row by row and step by step."""
    h, c = (np.array(part, np.float64) for part in state)
    ys, moments = np.zeros((len(xs), xs.shape[1], H)), []
    for t in range(xs.shape[1]):
        rows = [row for row in range(len(xs)) if t < lengths[row]]
        place = min(t, STEPS - 1)
        found = []

        def norm(values, rows=rows, found=found, place=place):
            if known is None:
                mean = np.mean([values[row] for row in rows], axis=0)
                variance = np.mean([(values[row] - mean) ** 2 for row in rows], axis=0)
            else:
                mean, variance = (part[place] for part in known[len(found)])
            found.append((mean, variance))
            return {row: (values[row] - mean) / np.sqrt(variance + 1e-5) for row in rows}

        of_x = norm({row: xs[row, t] @ params["w"] for row in rows})
        of_h = norm({row: h[row] @ params["u"] for row in rows})
        new = {}
        for row in rows:
            z = params["gain_x"] * of_x[row] + params["gain_h"] * of_h[row] + params["b"]
            i, f, g, o = z.reshape(4, H)
            new[row] = sigmoid(f) * c[row] + sigmoid(i) * np.tanh(g), sigmoid(o)
        of_c = norm({row: value for row, (value, _) in new.items()})
        for row in rows:
            c[row] = new[row][0]
            h[row] = new[row][1] * np.tanh(params["gain_c"] * of_c[row] + params["b_c"])
            ys[row, t] = h[row]
        moments.append(found)
    return h, c, ys, moments


@pytest.fixture
def layer():
    layer = BatchNormLSTM(H, D, max_steps=STEPS, rngs=nnx.Rngs(0))
    for number, variable in enumerate(jax.tree.leaves(layer.params, is_leaf=is_param)):
        variable.set_value(jnp.asarray(randomise(variable.get_value(), number)))
    return layer


def is_param(node):
    return isinstance(node, nnx.Param)


def arrays(variables):
    return jax.tree.map(
        lambda v: np.asarray(v.get_value(), np.float64),
        variables,
        is_leaf=lambda v: isinstance(v, nnx.Variable),
    )


@pytest.fixture
def sequences():
    rng = np.random.default_rng(3)
    xs = rng.normal(size=(B, T, D)).astype(np.float32)
    lengths = np.array([4, 2, 3, 4, 1])
    state = rng.normal(size=(2, B, H)).astype(np.float32)
    return xs, lengths, state


@pytest.mark.numeric
def test_training_equals_its_equations_and_moves_the_averages(layer, sequences):
    xs, lengths, state = sequences
    h, c, ys, moments = twin(arrays(layer.params), xs, lengths, state)
    before = arrays(layer.statistics)
    padded = np.where(np.arange(T)[:, None] < lengths[:, None, None], xs, np.nan)
    start = layer.initial_state(B)._replace(h=state[0], c=state[1])
    final, actual = layer(padded, start, lengths=jnp.array(lengths), use_running_average=False)
    np.testing.assert_allclose(actual, ys, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(final.h, h, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(final.c, c, rtol=2e-4, atol=2e-5)
    after = arrays(layer.statistics)
    for t in range(STEPS):
        for part, of_step in enumerate(moments[t]):
            for kind, value in enumerate(of_step):
                expected = 0.9 * before[part][kind][t] + 0.1 * value
                np.testing.assert_allclose(after[part][kind][t], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.numeric
def test_evaluation_reads_the_averages_the_last_of_them_for_longer_sequences(layer, sequences):
    xs, lengths, state = sequences
    start = layer.initial_state(B)._replace(h=state[0], c=state[1])
    layer(xs, start, use_running_average=False)
    known = arrays(layer.statistics)
    h, _, ys, _ = twin(arrays(layer.params), xs, lengths, state, known)
    final, actual = layer(xs, start, lengths=jnp.array(lengths))
    np.testing.assert_allclose(actual, ys, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(final.h, h, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(known.x.mean, arrays(layer.statistics).x.mean)
    alone, _ = layer(xs[:1], jax.tree.map(lambda s: s[:1], start), lengths=jnp.array(lengths[:1]))
    np.testing.assert_allclose(alone.h[0], final.h[0], rtol=1e-5, atol=1e-6)


def test_a_step_without_rows_leaves_its_averages(layer, sequences):
    xs, _, _ = sequences
    layer(xs, lengths=jnp.full(B, 2), use_running_average=False)
    assert np.all(arrays(layer.statistics).x.mean[2] == 0)
    assert np.all(arrays(layer.statistics).x.mean[1] != 0)


def test_the_train_state_carries_what_the_averages_are(layer, sequences):
    """As a loss does it: parameters are trained, averages are handed on."""
    xs, lengths, _ = sequences
    split = split_model(layer)

    @jax.jit
    def loss(params, statistics):
        model = merge_model(split, params, statistics)
        _, ys = model(xs, lengths=jnp.array(lengths), use_running_average=False)
        return jnp.sum(ys**2), statistics_of(model)

    (_, statistics), grads = jax.value_and_grad(loss, has_aux=True)(split.params, split.statistics)
    assert all(np.all(np.isfinite(g)) and np.any(g != 0) for g in jax.tree.leaves(grads))
    changed = jax.tree.map(lambda a, b: np.any(a != b), statistics, split.statistics)
    assert all(jax.tree.leaves(changed))


def test_bad_shapes_are_refused(layer):
    with pytest.raises(InputError, match=r"takes xs \[B, T, 3\], got shape \(3, 2\)"):
        layer(jnp.ones((3, 2)))
    with pytest.raises(InputError, match="max_steps must be an integer of at least 1, got 0"):
        BatchNormLSTM(2, 2, max_steps=0, rngs=nnx.Rngs(0))


def test_steps_that_were_never_learnt_are_evaluated_as_the_last_that_was(sequences):
    """Beyond the steps that two rows reached, in training, there are no averages."""
    xs, _, state = sequences
    layer = BatchNormLSTM(H, D, max_steps=T, rngs=nnx.Rngs(0))
    layer(xs, lengths=jnp.array([4, 2, 2, 1, 1]), use_running_average=False)
    assert int(layer.learnt.get_value()) == 2
    np.testing.assert_array_equal(arrays(layer.statistics).x.variance[2:], 1)
    found = layer(xs)[1]
    known = arrays(layer.statistics)
    known = [[np.where(np.arange(T)[:, None] < 2, part, part[1]) for part in m] for m in known]
    zeros = np.zeros_like(state)
    _, _, ys, _ = twin(arrays(layer.params), xs, np.full(B, T), zeros, known)
    np.testing.assert_allclose(found[:, :3], ys[:, :3], rtol=2e-4, atol=2e-5)
    for lengths in (jnp.array([3]), jnp.full(B, 2.0)):
        with pytest.raises(InputError, match=r"lengths must be integers of shape \(5,\)"):
            layer(xs, lengths=lengths)
