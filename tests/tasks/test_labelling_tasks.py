"""The grammar that no bag of words can tell, and the hidden Markov model's posteriors."""

import itertools
from collections import Counter

import numpy as np
import pytest

from seqjax import InputError
from seqjax.tasks.hmm import HMM, accuracy_of, posteriors, random_hmm, sample_hmm
from seqjax.tasks.sentiment import LABELS, PAIRS, sentiment

GOOD, BAD = ({pair[i] for pair in PAIRS} for i in (0, 1))


def label_by_reading(words):
    """Said and not denied: the sign of each clause's word that has no `not` before it."""
    signs = []
    for clause in " ".join(words).split(" . "):
        parts = clause.split()
        denied = False
        for word in parts:
            denied = denied or word == "not"
            if word in GOOD | BAD:
                if not denied:
                    signs.append(1 if word in GOOD else -1)
                denied = False
    return LABELS[sum(signs) > 0]


def test_a_reader_of_the_order_is_always_right():
    for words, label in sentiment(500, clauses=3, seed=1):
        assert label_by_reading(words) == label


def test_counts_of_words_are_as_probable_under_both_labels():
    """Each clause's bag is drawn without regard to its sign, so bags have the same chances."""
    drawn = sentiment(40_000, clauses=1, seed=2)
    bags = {label: Counter() for label in LABELS}
    for words, label in drawn:
        kinds = tuple(sorted(w for w in words if w in GOOD | BAD | {"very", "at", "but", ","}))
        bags[label][kinds] += 1
    seen = {bag for bag, count in (bags[LABELS[0]] + bags[LABELS[1]]).items() if count > 200}
    assert len(seen) > 20
    for bag in seen:
        a, b = bags[LABELS[0]][bag], bags[LABELS[1]][bag]
        assert abs(a - b) < 5 * np.sqrt(a + b), bag
    assert all(
        Counter(w for w in words if w in GOOD | BAD).total() == 2 for words, _ in drawn[:100]
    )


def test_labels_are_balanced_and_the_seed_alone_decides():
    drawn = sentiment(4000, clauses=5, seed=3)
    share = np.mean([label == LABELS[1] for _, label in drawn])
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert drawn == sentiment(4000, clauses=5, seed=3) != sentiment(4000, clauses=5, seed=4)
    with pytest.raises(InputError, match="clauses must be odd"):
        sentiment(3, clauses=2)


def test_posteriors_equal_the_sum_over_all_tag_sequences():
    hmm = random_hmm(tags=3, words=4, seed=1)
    tagged = sample_hmm(hmm, 6, shortest=1, longest=5, seed=2)
    filtering, smoothing = posteriors(hmm, tagged)
    for row, length in enumerate(tagged.lengths):
        words = tagged.words[row]
        for t in range(length):
            for found, upto in ((filtering[row, t], t + 1), (smoothing[row, t], length)):
                wanted = np.zeros(3)
                for tags in itertools.product(range(3), repeat=int(upto)):
                    p = hmm.start[tags[0]]
                    for a, b in itertools.pairwise(tags):
                        p *= hmm.transition[a, b]
                    for tag, word in zip(tags, words, strict=False):
                        p *= hmm.emission[tag, word]
                    wanted[tags[t]] += p
                np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-10)
        assert not filtering[row, length:].any()
        assert not smoothing[row, length:].any()


def test_the_most_probable_tag_is_right_as_often_as_its_posterior_says():
    hmm = random_hmm(seed=2)
    tagged = sample_hmm(hmm, 20_000, shortest=5, longest=20, seed=0)
    filtering, smoothing = posteriors(hmm, tagged)
    valid = np.arange(20) < tagged.lengths[:, None]
    for posterior in (filtering, smoothing):
        said = posterior.max(-1)[valid].mean()
        error = 1 / np.sqrt(valid.sum() / 20)  # words of a sentence are not independent
        assert abs(accuracy_of(posterior, tagged) - said) < 2 * error
    assert accuracy_of(smoothing, tagged) > accuracy_of(filtering, tagged) + 0.05


def test_samples_have_the_frequencies_of_the_model():
    hmm = HMM(
        np.array([0.2, 0.8]),
        np.array([[0.9, 0.1], [0.3, 0.7]]),
        np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]),
    )
    tagged = sample_hmm(hmm, 50_000, shortest=2, longest=2, seed=5)
    tolerance = 5 * 0.5 / np.sqrt(10_000)
    assert abs(np.mean(tagged.tags[:, 0]) - 0.8) < tolerance
    for tag in (0, 1):
        after = tagged.tags[tagged.tags[:, 0] == tag, 1]
        assert abs(after.mean() - hmm.transition[tag, 1]) < tolerance
        words = tagged.words[tagged.tags == tag]
        shares = np.bincount(words, minlength=3) / len(words)
        np.testing.assert_allclose(shares, hmm.emission[tag], atol=tolerance)


def test_what_stands_past_an_end_may_be_impossible():
    """Padding is word 0, which no tag of this model says first."""
    hmm = HMM(np.array([1.0, 0]), np.eye(2), np.array([[0.0, 1], [1, 0]]))
    tagged = sample_hmm(hmm, 3, shortest=1, longest=4, seed=0)
    forward, smooth = posteriors(hmm, tagged)
    valid = np.arange(4) < tagged.lengths[:, None]
    np.testing.assert_array_equal(smooth[valid], np.tile([1.0, 0], (valid.sum(), 1)))
    assert not forward[~valid].any()
    with pytest.raises(InputError, match="1 <= shortest <= longest must hold, got 6 and 5"):
        sample_hmm(hmm, 1, shortest=6, longest=5, seed=0)
