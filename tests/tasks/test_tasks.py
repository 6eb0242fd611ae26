"""Every task against its definition, recomputed with NumPy from the inputs alone."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError
from seqjax.tasks import ADDING, TASKS, continual_reber, embedded_reber, memorisation
from seqjax.tasks.reber import ALPHABET, outer, successors
from tests.support.tiers import long_only

B, LENGTH = 4000, 60


def draw(name, length=LENGTH, batch_size=B, seed=0):
    make = jax.jit(partial(TASKS[name], batch_size=batch_size, length=length))
    episode = make(jax.random.key(seed))
    return jax.tree.map(np.asarray, episode)


def markers(episode):
    """The two marked steps `[B, 2]` and the numbers there, found in the inputs."""
    marked = episode.inputs[..., 1].T == 1
    assert np.all(marked.sum(axis=1) == 2)
    places = np.nonzero(marked)[1].reshape(-1, 2)
    numbers = np.take_along_axis(episode.inputs[..., 0].T, places, axis=1)
    return places, numbers


def row_lengths(episode):
    num_steps, batch_size = episode.inputs.shape[:2]
    return np.full(batch_size, num_steps) if episode.lengths is None else episode.lengths


@pytest.mark.parametrize("name", TASKS)
def test_shapes_weights_and_padding(name):
    episode = draw(name, batch_size=7)
    num_steps, batch_size, _ = episode.inputs.shape
    assert batch_size == 7
    assert episode.inputs.dtype == episode.weights.dtype == np.float32
    assert episode.targets.shape in {(7,), (num_steps, 7)}
    assert episode.weights.shape == episode.targets.shape
    lengths = row_lengths(episode)
    assert np.all((lengths > 0) & (lengths <= num_steps))
    past = np.arange(num_steps)[:, None] >= lengths
    assert not np.any(episode.inputs[past])
    if episode.targets.ndim == 2:
        assert not np.any(episode.weights[past])
    if episode.inputs.shape[-1] > 2:  # one-hot
        np.testing.assert_array_equal(episode.inputs.sum(-1), ~past)


@pytest.mark.parametrize(
    "name", [n if n in ("adding_le", "copying", "embedded_reber") else long_only(n) for n in TASKS]
)
def test_the_key_alone_decides_and_vmap_agrees(name):
    keys = jax.random.split(jax.random.key(3), 2)
    first, second = (jax.jit(lambda key: TASKS[name](key, 5, 40)) for _ in range(2))
    both = jax.jit(jax.vmap(first))(keys)
    for i, key in enumerate(keys):
        once, again = first(key), second(key)
        for a, b, c in zip(*map(jax.tree.leaves, (once, again, both)), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, c[i], rtol=1e-6, atol=1e-6)
    assert np.any(np.asarray(both.inputs[0] != both.inputs[1]))


@pytest.mark.parametrize(
    ("name", "target", "low"),
    [
        ("adding_hs97", lambda a, b: 0.5 + (a + b) / 4, -1),
        ("adding_pascanu", lambda a, b: (a + b) / 2, 0),
        ("adding_le", lambda a, b: a + b, 0),
        ("adding_urnn", lambda a, b: a + b, 0),
        ("adding_tcn", lambda a, b: a + b, 0),
        ("multiplication_hs97", lambda a, b: a * b, 0),
        ("multiplication_pascanu", lambda a, b: a * b, 0),
    ],
)
def test_two_marked_numbers_give_the_target(name, target, low):
    episode = draw(name)
    _, numbers = markers(episode)
    np.testing.assert_allclose(episode.targets, target(*numbers.T), rtol=1e-5, atol=1e-6)
    live = np.arange(len(episode.inputs))[:, None] < row_lengths(episode)
    shown = episode.inputs[1:, :, 0][live[1:]]  # the first may have been replaced
    assert low <= shown.min() < low + 1e-3
    assert 1 - 1e-3 < shown.max() <= 1
    assert abs(shown.mean() - (low + 1) / 2) < 0.005
    assert abs(shown.var() - (1 - low) ** 2 / 12) < 0.005


@pytest.mark.parametrize("name", ["adding_hs97", "multiplication_hs97"])
def test_hochreiter_markers(name):
    episode = draw(name)
    lengths = row_lengths(episode)
    assert {*lengths} == set(range(60, 67))
    places, numbers = markers(episode)
    assert np.all(places.min(axis=1) < 10)
    # The second counts the first T/2 - 1 = 29 pairs that are still unmarked: steps 0 to 29.
    assert {*places.max(axis=1)} == set(range(1, 30))
    assert {*places.min(axis=1)} == set(range(10))
    last = episode.inputs[lengths - 1, np.arange(B), 1]
    np.testing.assert_array_equal(last, -1)
    first_marked = places[:, 0] == 0
    np.testing.assert_array_equal(episode.inputs[0, :, 1], np.where(first_marked, 1, -1))
    neutral = 0 if name == "adding_hs97" else 1
    np.testing.assert_array_equal(numbers[first_marked, 0], neutral)
    # P = 1/10 for the first marker, and 9/10 · 1/29 for the second.
    assert abs(first_marked.mean() - (0.1 + 0.9 / 29)) < 0.02
    assert np.all((np.abs(episode.inputs[..., 1]) == 1).sum(axis=0) <= 4)


@pytest.mark.parametrize("name", ["adding_pascanu", "multiplication_pascanu"])
def test_pascanu_markers(name):
    episode = draw(name)
    lengths = row_lengths(episode)
    assert {*lengths} == set(range(60, 66))
    places, _ = markers(episode)
    tenth = lengths // 10
    assert np.all(places[:, 0] < tenth)
    assert np.all((places[:, 1] >= tenth) & (places[:, 1] < tenth + 4 * lengths // 10))
    assert {*places[lengths == 60, 0]} == set(range(6))
    assert {*places[lengths == 60, 1]} == set(range(6, 30))


def test_one_marker_in_each_half():
    places, _ = markers(draw("adding_urnn"))
    assert {*places[:, 0]} == set(range(30))
    assert {*places[:, 1]} == set(range(30, 60))


@pytest.mark.parametrize("name", ["adding_le", "adding_tcn"])
def test_two_markers_anywhere(name):
    places, _ = markers(draw(name, length=6, batch_size=30_000))
    pairs, counts = np.unique(places, axis=0, return_counts=True)
    assert len(pairs) == 15
    assert np.all(np.abs(counts / 2000 - 1) < 0.12)  # 2.7 standard deviations


@pytest.mark.parametrize(
    ("name", "baseline"),
    [("hs97", 1 / 24), ("pascanu", 1 / 24), ("le", 1 / 6), ("urnn", 1 / 6), ("tcn", 1 / 6)],
)
@pytest.mark.long
def test_variance_of_the_target(name, baseline):
    """.0417 and .1667; errors of different forms are no numbers to compare."""
    make = jax.jit(lambda key: ADDING[name](key, 200_000, 20))
    episode = make(jax.random.key(1))
    targets = np.asarray(episode.targets)
    if name == "hs97":  # a first pair that is marked counts as 0
        whole = targets.var()
        targets = targets[np.asarray(episode.inputs[0, :, 1]) == -1]
        assert whole < targets.var()
    assert abs(targets.var() / baseline - 1) < 0.015


@pytest.mark.parametrize(
    ("name", "ranges"),
    [
        ("temporal_order_2_bit", [(6, 11), (30, 35)]),
        ("temporal_order_3_bit", [(6, 11), (18, 23), (36, 41)]),
        ("temporal_order_6a", [(6, 12), (30, 36)]),
        ("temporal_order_6b", [(6, 12), (19, 25), (39, 45)]),
    ],
)
def test_temporal_order(name, ranges):
    episode = draw(name)
    symbols = episode.inputs.argmax(-1)
    live = np.arange(len(symbols))[:, None] < row_lengths(episode)
    critical = ((symbols < 2) & live).T
    assert np.all(critical.sum(axis=1) == len(ranges))
    places = np.nonzero(critical)[1].reshape(B, -1)
    bits = np.take_along_axis(symbols.T, places, axis=1)
    np.testing.assert_array_equal(episode.targets, bits @ 2 ** np.arange(len(ranges)))
    for column, (low, high) in zip(places.T, ranges, strict=True):
        assert {*column} == set(range(low, high + 1))
    assert np.all(np.abs(np.bincount(episode.targets) / B - 0.5 ** len(ranges)) < 0.03)
    counts = np.bincount(symbols[2:-8].ravel(), minlength=6)[2:6]
    assert np.all(np.abs(counts / counts.mean() - 1) < 0.03)


def test_temporal_order_6a_begins_with_e_and_ends_with_b():
    episode = draw("temporal_order_6a", length=100)
    assert {*episode.lengths} == set(range(100, 111))
    symbols = episode.inputs.argmax(-1)
    assert np.all(symbols[0] == 6)
    assert np.all(symbols[episode.lengths - 1, np.arange(B)] == 7)
    assert np.all((episode.inputs[..., 6:].sum(axis=(0, 2))) == 2)
    places = np.nonzero(episode.inputs[..., :2].sum(-1).T)[1].reshape(B, 2)
    assert (*places.min(axis=0), *places.max(axis=0)) == (10, 50, 20, 60)


def test_copying_shows_the_marker_once():
    episode = draw("copying")
    shown = episode.inputs.argmax(-1)
    assert shown.shape == (80, B)
    np.testing.assert_array_equal(episode.targets[:70], 0)
    np.testing.assert_array_equal(episode.targets[70:], shown[:10])
    assert {*shown[:10].ravel()} == set(range(1, 9))
    np.testing.assert_array_equal(np.nonzero((shown == 9).T)[1], np.full(B, 69))
    assert not np.any(shown[10:69])
    assert not np.any(shown[70:])
    assert np.all(episode.weights == 1)


@pytest.mark.parametrize(("bits", "symbols", "values"), [(5, 5, 2), (20, 10, 5)])
def test_memorisation(bits, symbols, values):
    episode = draw(f"memorisation_{bits}_bit")
    shown = episode.inputs.argmax(-1)
    assert episode.inputs.shape == (LENGTH + 2 * symbols, B, values + 2)
    assert {*shown[:symbols].ravel()} == set(range(values))
    expected = np.full_like(shown, values)
    expected[:symbols] = shown[:symbols]
    expected[LENGTH + symbols] = values + 1  # the marker, where the first answer is due
    np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(episode.targets[:-symbols], values)
    np.testing.assert_array_equal(episode.targets[-symbols:], shown[:symbols])
    assert np.unique(shown[:symbols].T, axis=0).shape[0] >= min(values**symbols, B - 5)


def test_selective_copying():
    episode = draw("selective_copying")
    shown = episode.inputs.argmax(-1)
    assert shown.shape == (LENGTH + 32, B)
    assert np.all(shown[-16:] == 15)
    chosen = (shown > 0) & (shown < 15)
    assert np.all(chosen.sum(axis=0) == 16)
    assert not np.any(chosen[-16:])
    np.testing.assert_array_equal(episode.targets[-16:].T.ravel(), shown.T[chosen.T])
    np.testing.assert_array_equal(episode.weights[:-16], 0)
    np.testing.assert_array_equal(episode.weights[-16:], 1)
    share = chosen[:-16].mean(axis=1)  # every place is as likely as any other
    assert np.all(np.abs(share - 16 / 76) < 0.03)


# Reber's grammar as a regular expression, independent of the library's automaton.
INNER = r"B(?:TS*(?:XS|XX{middle})|P{middle})E".replace("{middle}", r"T*V(?:PXT*V)*(?:PS|V)")
EMBEDDED = re.compile(rf"BT{INNER}TE|BP{INNER}PE")


def text(ids):
    return "".join(ALPHABET[i] for i in ids)


def test_embedded_reber_strings_belong_to_the_grammar():
    episode = draw("embedded_reber", length=200, batch_size=3000)
    shown, lengths = episode.inputs.argmax(-1), episode.lengths
    assert lengths.max() < 200
    seen = set()
    for row, n in enumerate(lengths):
        string = text(shown[:n, row]) + ALPHABET[episode.targets[n - 1, row]]
        assert EMBEDDED.fullmatch(string), string
        assert string[1] == string[-2]
        np.testing.assert_array_equal(episode.targets[: n - 1, row], shown[1:n, row])
        seen.add(string)
    assert min(map(len, seen)) == 9
    assert abs(np.mean(lengths + 1) - 12) < 0.4
    # The first choices are fair: T or P outside, then T or P inside.
    for place in (1, 3):
        assert abs(np.mean(shown[place] == ALPHABET.index("T")) - 0.5) < 0.03


def test_a_string_that_does_not_fit_is_cut():
    whole = embedded_reber(jax.random.key(0), 500, 100)
    cut = embedded_reber(jax.random.key(0), 500, 8)
    assert np.any(np.asarray(cut.lengths) == 8)
    assert np.asarray(cut.lengths).max() == 8
    assert np.asarray(whole.lengths).max() > 20


def test_continual_reber_is_one_string_after_the_other():
    episode = draw("continual_reber", length=3000, batch_size=4)
    shown = episode.inputs.argmax(-1)
    np.testing.assert_array_equal(shown[1:], episode.targets[:-1])
    for row in range(4):
        stream = text(shown[:, row])
        strings = EMBEDDED.findall(stream)
        assert len(strings) > 200
        assert stream.startswith("".join(strings))
        assert len(stream) - len("".join(strings)) < 60  # the last one is cut


def test_successors_and_the_outer_symbol():
    episode = draw("continual_reber", length=2000, batch_size=5)
    shown = episode.inputs.argmax(-1)
    allowed = np.asarray(successors(jnp.asarray(shown)))
    assert np.all(np.take_along_axis(allowed, episode.targets[..., None], -1))
    assert {*allowed.sum(-1).ravel()} == {1, 2}
    due = np.asarray(outer(jnp.asarray(allowed)))
    for row in range(5):
        at = 0
        for match in EMBEDDED.finditer(text(shown[:, row])):
            steps = np.nonzero(due[match.start() : match.end(), row])[0]
            np.testing.assert_array_equal(steps, [match.end() - match.start() - 3])
            at = match.end()
        assert at > 1900
    # Where two symbols may follow, each comes half of the time.
    two = allowed.sum(-1) == 2
    first = allowed[two].argmax(-1) == episode.targets[two]
    assert abs(first.mean() - 0.5) < 0.03
    wrong = shown.copy()
    wrong[3] = ALPHABET.index("E")
    assert not np.any(successors(jnp.asarray(wrong))[3:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: TASKS["adding_hs97"](key, 4, 19), "at least 20 steps, got 19"),
        (lambda key: TASKS["adding_pascanu"](key, 4, 9), "at least 10 steps, got 9"),
        (lambda key: TASKS["adding_urnn"](key, 4, 1), "at least 2 steps, got 1"),
        (lambda key: TASKS["temporal_order_6b"](key, 4, 9), "at least 10 steps, got 9"),
        (lambda key: TASKS["copying"](key, 0, 9), "batch_size must be an integer of at least 1"),
        (lambda key: embedded_reber(key, 4, 7), "at least 8 steps, got 7"),
        (lambda key: continual_reber(key, 4, 0), "length must be an integer of at least 1"),
        (lambda key: memorisation(key, 4, 9, num_values=1), "at least 2 kinds of symbol, got 1"),
        (lambda key: memorisation(key, 4, 9, num_symbols=0), "num_symbols must be an integer"),
    ],
)
def test_bad_sizes(call, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        call(jax.random.key(0))
    assert str(error.value).count(". ") == 0


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("jit", [False, True])
def test_the_same_episode_under_x64(name, jit):
    """The promised types, and the same numbers."""
    make = partial(TASKS[name], batch_size=3, length=LENGTH)
    expected = make(jax.random.key(0))
    with jax.enable_x64(True):
        found = (jax.jit(make) if jit else make)(jax.random.key(0))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)
