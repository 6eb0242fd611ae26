"""CTC against sums over every path, and decoding against a search through every labelling."""

import itertools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax.decode.ctc import greedy, prefix_beam
from seqjax.errors import InputError
from seqjax.losses import ctc_loss, fewest_frames
from seqjax.metrics import character_error_rate, edit_distance, greedy_errors


def collapse(path, blank):
    return tuple(s for s, _ in itertools.groupby(path) if s != blank)


def labellings(logits):
    """P of every labelling with any path at all, by summing over all V^T paths."""
    logits = np.asarray(logits, np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    blank = logits.shape[1] - 1
    total = defaultdict(float)
    for path in itertools.product(range(blank + 1), repeat=len(logits)):
        total[collapse(path, blank)] += np.prod([p[t, s] for t, s in enumerate(path)])
    return dict(total)


def losses(logits, labelling, batch=1):
    """The loss of labellings of one sequence, padded to the same length."""
    longest = max(map(len, labelling))
    labels = np.array([[*y, *[0] * (longest - len(y))] for y in labelling], np.int32)
    count = len(labelling)
    return ctc_loss(
        jnp.repeat(jnp.asarray(logits)[:, None], count, 1),
        jnp.full(count, len(logits)),
        jnp.asarray(labels),
        jnp.array([len(y) for y in labelling]),
    )


@pytest.mark.parametrize(
    ("steps", "symbols"),
    [(1, 2), (4, 3), *(pytest.param(*c, marks=pytest.mark.long) for c in ((3, 2), (5, 3), (4, 4)))],
)
def test_probability_is_the_sum_over_all_paths(steps, symbols):
    with jax.enable_x64(True):
        logits = np.random.default_rng(steps).normal(size=(steps, symbols)) * 2
        truth = labellings(logits)
        assert sum(truth.values()) == pytest.approx(1)
        np.testing.assert_allclose(
            losses(logits, list(truth)), [-np.log(p) for p in truth.values()], rtol=1e-9
        )


def test_a_labelling_without_a_path_costs_very_much():
    logits = np.random.default_rng(0).normal(size=(3, 3))
    impossible = [(0, 0, 1), (1, 1, 1), (0, 1, 0, 1)]
    assert all(y not in labellings(logits) for y in impossible)
    assert all(fewest_frames(y) > 3 for y in impossible)
    assert np.all(np.asarray(losses(logits, impossible)) > 1e4)


@given(st.lists(st.integers(0, 2), max_size=4))
def test_fewest_frames_is_the_shortest_path(labels):
    for steps in range(len(labels) * 2 + 1):
        paths = itertools.product(range(4), repeat=steps)
        if any(collapse(path, 3) == tuple(labels) for path in paths):
            break
    assert fewest_frames(labels) == steps


@pytest.mark.long
def test_padding_changes_neither_loss_nor_gradient():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(6, 2, 4)).astype("f"), np.array([[1, 1, 2], [2, 0, 0]])
    lengths, label_lengths = jnp.array([6, 4]), jnp.array([3, 2])

    def total(logits, labels):
        return ctc_loss(logits, lengths, labels, label_lengths).sum()

    value, gradient = jax.value_and_grad(total)(jnp.asarray(logits), jnp.asarray(labels))
    assert np.all(np.asarray(gradient)[4:, 1] == 0)
    spoilt = logits.copy()
    spoilt[4:, 1] = np.nan
    labels[1, 2] = -7
    spoilt_value, spoilt_gradient = jax.value_and_grad(total)(
        jnp.asarray(spoilt), jnp.asarray(labels)
    )
    assert spoilt_value == value
    np.testing.assert_array_equal(spoilt_gradient, gradient)
    alone = ctc_loss(
        jnp.asarray(logits[:4, 1:]), jnp.array([4]), jnp.asarray(labels[1:, :2]), jnp.array([2])
    )
    both = ctc_loss(jnp.asarray(logits), lengths, jnp.asarray(labels), label_lengths)
    np.testing.assert_allclose(alone[0], both[1], rtol=1e-5)


def test_gradient_of_a_frame_sums_to_zero():
    """A softmax does not see a shift of all its logits."""
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(5, 1, 3)).astype("f"))
    arguments = (jnp.array([5]), jnp.array([[0, 1]]), jnp.array([2]))
    gradient = jax.grad(lambda x: ctc_loss(x, *arguments).sum())(logits)
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-6)
    assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("seed", range(20))
def test_full_prefix_beam_finds_the_most_probable_labelling(seed):
    rng = np.random.default_rng(seed)
    steps, symbols = int(rng.integers(1, 6)), int(rng.integers(2, 5))
    logits = rng.normal(size=(steps, symbols)) * rng.uniform(0.2, 3)
    p = labellings(logits)
    found = tuple(prefix_beam(logits, steps, width=len(p)))
    assert found == max(p, key=p.__getitem__)
    assert p[found] >= p[tuple(greedy(logits, steps))]


def test_the_best_path_is_not_always_the_best_labelling():
    """Two blanks have .36, more than any other path; the three paths that mean "A" have .64 together."""
    logits = np.log(np.array([[0.4, 0.6], [0.4, 0.6]]))
    assert greedy(logits, 2) == []
    assert prefix_beam(logits, 2, width=4) == [0]


def test_greedy_is_the_labelling_of_the_best_path():
    rng = np.random.default_rng(3)
    for _ in range(50):
        logits = rng.normal(size=(4, 3))
        paths = itertools.product(range(3), repeat=3)
        best = max(paths, key=lambda path: sum(logits[t, s] for t, s in enumerate(path)))
        assert tuple(greedy(logits, 3)) == collapse(best, 2)


def test_a_beam_of_one_follows_a_sure_network():
    path = [0, 0, 3, 0, 1, 3, 3, 2]
    logits = 20 * np.eye(4)[path]
    assert greedy(logits, 8) == prefix_beam(logits, 8, width=1) == [0, 0, 1, 2]
    assert prefix_beam(logits, 0, width=1) == greedy(logits, 0) == []


def slow_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


SHORT = st.lists(st.integers(0, 2), max_size=5)


@given(SHORT, SHORT)
def test_edit_distance_is_its_definition(a, b):
    assert edit_distance(a, b) == slow_distance(a, b) == edit_distance(b, a)


def test_character_error_rate_weighs_by_length():
    truth = [[0, 1, 2, 3], [1]]
    assert character_error_rate(truth, truth) == 0
    assert character_error_rate([[0, 1, 2, 3], []], truth) == 1 / 5
    assert character_error_rate([[], []], truth) == 1
    assert character_error_rate([[4] * 10, [1]], truth) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: ctc_loss(jnp.zeros((3, 2)), jnp.ones(2), jnp.zeros((2, 1)), jnp.ones(2)),
        lambda: ctc_loss(jnp.zeros((3, 2, 4)), jnp.ones(3), jnp.zeros((2, 1)), jnp.ones(2)),
        lambda: ctc_loss(jnp.zeros((3, 2, 4)), jnp.ones(2), jnp.zeros(2), jnp.ones(2)),
        lambda: greedy(np.zeros((3, 4)), 4),
        lambda: greedy(np.full((3, 4), np.nan), 3),
        lambda: prefix_beam(np.zeros((3, 4)), 3, 0),
        lambda: prefix_beam(np.zeros((3, 4, 1)), 3, 2),
        lambda: character_error_rate([[1]], [[1], [2]]),
        lambda: character_error_rate([[1]], [[]]),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_greedy_errors_are_the_distance_of_what_greedy_says():
    rng = np.random.default_rng(1)
    counted = jax.jit(greedy_errors)
    found = []
    for _ in range(60):
        logits, labels = rng.normal(size=(8, 4)), rng.integers(0, 3, 5)
        logits += 2 * np.eye(4)[np.repeat(rng.integers(0, 4, 4), 2)]  # repeats, and blanks
        length, count = int(rng.integers(1, 9)), int(rng.integers(0, 6))
        said = greedy(logits, length)
        expected = edit_distance(said, labels[:count].tolist())
        assert counted(logits, length, labels, count) == expected
        found.append((len(said), expected))
    assert len(set(found)) > 10


@pytest.mark.parametrize("label", [-1, 3, 4])
def test_a_label_that_is_none_has_no_loss(label):
    """The blank, 3 of 4 symbols, is no label either; in the padding anything may stand."""
    how = jnp.zeros((2, 2, 4)), jnp.array([2, 2])
    labels = jnp.array([[label, 0], [1, label]])
    losses = ctc_loss(*how, labels, jnp.array([1, 1]))
    assert np.isnan(losses[0])
    np.testing.assert_allclose(
        losses[1], ctc_loss(*how, jnp.ones((2, 2), int), jnp.array([1, 1]))[1]
    )
