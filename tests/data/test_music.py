"""Piano rolls, the music a program makes, and buckets."""

import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqjax.data.buckets import bucketed
from seqjax.data.sequences import Example, Sequences, normalised
from seqjax.data.sets.harmony import chords, entropy, harmony, independent_entropy, transitions
from seqjax.data.sets.piano_rolls import independent_notes, load_piano_rolls, next_frame
from seqjax.errors import InputError

GOOD = {"train": [[[60, 64.0], []], [[21]]], "valid": [[[108]]], "test": [[[60], [60, 60]]]}


def written(tmp_path, value):
    path = tmp_path / "rolls.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_roll_is_the_pitches_and_its_inputs_are_a_step_late(tmp_path):
    found = load_piano_rolls(written(tmp_path, GOOD))
    piece = found.train[0]
    assert piece.targets.shape == (2, 88)
    assert sorted(np.flatnonzero(piece.targets[0]) + 21) == [60, 64]
    np.testing.assert_array_equal(piece.inputs[0], 0)
    np.testing.assert_array_equal(piece.inputs[1:], piece.targets[:-1])
    assert found.train[1].targets[0, 0] == found.valid[0].targets[0, 87] == 1
    assert load_piano_rolls(tmp_path).test[0].targets.sum() == 2


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (GOOD | {"valid": []}, "under 'valid'"),
        (GOOD | {"train": [[]]}, "train piece 1 must be a list of time steps"),
        (GOOD | {"test": [[[60], 5]]}, "test piece 1, step 2 must be a list of pitches"),
        (GOOD | {"test": [[[109]]]}, "whole numbers from 21 to 108, got 109"),
        (GOOD | {"test": [[[20]]]}, "got 20"),
        (GOOD | {"test": [[[60.5]]]}, "got 60.5"),
        (GOOD | {"test": [[[True]]]}, "got True"),
        (GOOD | {"test": [[["C"]]]}, "got 'C'"),
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[]", "must hold a JSON object"),
    ],
)
def test_a_broken_file_is_named(tmp_path, broken, says):
    with pytest.raises(InputError, match=says):
        load_piano_rolls(written(tmp_path, broken))


def test_no_file_or_too_many(tmp_path):
    with pytest.raises(InputError, match="no file"):
        load_piano_rolls(tmp_path / "none.json")
    with pytest.raises(InputError, match="holds 0 files"):
        load_piano_rolls(tmp_path)


def test_jsb_chorales(data_dir):
    """Sizes and the baseline that are known of the published split."""
    found = load_piano_rolls(data_dir / "jsb_chorales")
    assert [len(split) for split in found[:3]] == [229, 76, 77]
    assert sum(len(e.inputs) for e in found.train) == 13_807
    assert independent_notes(found) == pytest.approx(11.061, abs=0.002)


def test_entropies_of_the_chords_by_counting():
    rolls, p = chords().astype(float), transitions()
    assert len({tuple(roll) for roll in rolls}) == 24
    np.testing.assert_allclose(p.sum(0), 1)  # with the next line: every chord as likely in the end
    np.testing.assert_allclose(p.sum(1), 1)
    pieces = harmony(1, train=200, valid=1, test=1, steps=100).train
    paths = [(e.targets[:, None] == rolls).all(-1).argmax(-1) for e in pieces]
    counts = np.zeros((24, 24))
    for path in paths:
        np.add.at(counts, (path[:-1], path[1:]), 1)
    nats = -(counts * np.log(np.where(p > 0, p, 1))).sum() / counts.sum()
    assert nats == pytest.approx(entropy(), abs=0.02)
    notes = p @ rolls
    losses = []
    for piece, path in zip(pieces, paths, strict=True):
        q = np.clip(notes[path[:-1]], 1e-12, 1 - 1e-12)
        y = piece.targets[1:]
        losses.append(-(y * np.log(q) + (1 - y) * np.log(1 - q)).sum(1).mean())
    assert np.mean(losses) == pytest.approx(independent_entropy(), abs=0.05)
    assert entropy() < independent_entropy() < independent_notes(harmony(0))


def test_the_music_is_a_function_of_the_seed():
    a, b, c = (harmony(seed, train=2, valid=1, test=1).train[0].targets for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@hypothesis.given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), count=st.integers(1, 4)
)
def test_buckets_hold_every_sequence_with_the_least_padding(lengths, count):
    rng = np.random.default_rng(0)
    examples = [Example(rng.normal(size=(n, 2)), rng.integers(1, 9, n // 2)) for n in lengths]
    found = bucketed(examples, count)
    for example, (b, i) in zip(examples, found.places, strict=True):
        bucket = found.buckets[b]
        n, m = bucket.lengths[i], bucket.target_lengths[i]
        np.testing.assert_array_equal(bucket.inputs[i, :n], example.inputs)
        np.testing.assert_array_equal(bucket.inputs[i, n:], 0)
        np.testing.assert_array_equal(bucket.targets[i, :m], example.targets)
    steps = sum(bucket.inputs.shape[0] * bucket.inputs.shape[1] for bucket in found.buckets)
    assert len(found.buckets) <= count
    assert steps == fewest(sorted(lengths), count)


def fewest(lengths, count):
    """All ways to cut, tried."""
    if not lengths:
        return 0
    if count == 1:
        return len(lengths) * lengths[-1]
    return min(
        k * lengths[k - 1] + fewest(lengths[k:], count - 1) for k in range(1, len(lengths) + 1)
    )


def test_nothing_to_pack():
    for examples in ([], [Example(np.zeros((0, 2)), np.zeros(0))]):
        with pytest.raises(InputError, match="at least one sequence"):
            bucketed(examples)


def test_normalised_by_the_training_split():
    rng = np.random.default_rng(0)

    def some(n, scale):
        x = np.concatenate([scale * rng.normal(size=(n, 2)) + 5, np.ones((n, 1))], 1)
        return Example(x.astype(np.float32), np.zeros(n, np.int32))

    found = normalised(Sequences([some(50, 2), some(30, 3)], [some(9, 1)], [some(9, 9)], ()))
    frames = np.concatenate([e.inputs for e in found.train])
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(0), [1, 1, 0], atol=1e-5)
    assert found.valid[0].inputs[:, :2].std() < 0.6


def test_independent_notes_are_counted_with_one_more_of_each_kind():
    """Note 0 sounds in 2 of 3 steps of training: 3/5 by Laplace's rule; the other notes in none: 1/5."""
    roll = np.zeros((3, 88), np.uint8)
    roll[:2, 0] = 1
    test = np.zeros((1, 88), np.uint8)
    test[0, 0] = 1
    sequences = Sequences([next_frame(roll)], [], [next_frame(test)], names=())
    expected = -np.log(3 / 5) - 87 * np.log(4 / 5)
    assert independent_notes(sequences) == pytest.approx(expected, rel=1e-5)
