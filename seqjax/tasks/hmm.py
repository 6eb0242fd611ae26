"""Words from a hidden Markov model, whose tags can be known only so well (Rabiner, 1989).

A network that reads from left to right can know p(tag_t | words up to t), the filtering posterior;
one that reads in both directions p(tag_t | all words), the smoothing posterior. The most probable
tag under each is right as often as its posterior says, and no network of that kind is right more
often: two ceilings, which are computed here exactly, and the reason why taggers are bidirectional.
"""

from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError, check_positive


class HMM(NamedTuple):
    start: np.ndarray  # [K] float64, p(first tag)
    transition: np.ndarray  # [K, K], p(next tag | tag), rows sum to 1
    emission: np.ndarray  # [K, V], p(word | tag), rows sum to 1


class Tagged(NamedTuple):
    words: np.ndarray  # [N, T] int32
    tags: np.ndarray  # [N, T] int32
    lengths: np.ndarray  # [N] int32


def random_hmm(*, tags: int = 6, words: int = 50, seed: int = 0) -> HMM:
    """A model in which a tag has few likely followers, and a word a few likely tags."""
    check_positive("tags", tags)
    check_positive("words", words)
    random = np.random.default_rng(seed)
    emission = random.dirichlet(np.full(tags, 0.4), size=words).T * random.dirichlet(
        np.full(words, 2.0)
    )
    return HMM(
        random.dirichlet(np.full(tags, 1.0)),
        random.dirichlet(np.full(tags, 0.25), size=tags),
        emission / emission.sum(1, keepdims=True),
    )


def sample_hmm(hmm: HMM, count: int, *, shortest: int, longest: int, seed: int) -> Tagged:
    """Sentences of lengths from `shortest` to `longest`, uniformly; zeros stand after their ends.

    Raises:
      InputError: if it is not so that 1 <= shortest <= longest.
    """
    if not 1 <= shortest <= longest:
        raise InputError(f"1 <= shortest <= longest must hold, got {shortest} and {longest}.")
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, size=count).astype(np.int32)
    words, tags = np.zeros((2, count, longest), np.int32)
    for t in range(longest):
        given = hmm.transition[tags[:, t - 1]] if t else np.tile(hmm.start, (count, 1))
        tags[:, t] = _draw(given, random)
        words[:, t] = _draw(hmm.emission[tags[:, t]], random)
    valid = np.arange(longest) < lengths[:, None]
    return Tagged(np.where(valid, words, 0), np.where(valid, tags, 0), lengths)


def posteriors(hmm: HMM, tagged: Tagged) -> tuple[np.ndarray, np.ndarray]:
    """Filtering and smoothing posteriors of every tag, each `[N, T, K]`; zeros past the ends."""
    count, longest = tagged.words.shape
    valid = np.arange(longest) < tagged.lengths[:, None]
    seen = np.moveaxis(hmm.emission[:, tagged.words], 0, -1)  # [N, T, K], p(word_t | tag)
    forward = np.zeros((count, longest, len(hmm.start)))
    backward = np.ones_like(forward)
    for t in range(longest):
        prior = forward[:, t - 1] @ hmm.transition if t else hmm.start
        forward[:, t] = _normalised(prior * seen[:, t])
    for t in reversed(range(longest - 1)):
        later = _normalised((backward[:, t + 1] * seen[:, t + 1]) @ hmm.transition.T)
        backward[:, t] = np.where(valid[:, t + 1, None], later, 1.0)
    smooth = _normalised(forward * backward)
    return forward * valid[..., None], smooth * valid[..., None]


def accuracy_of(posterior: np.ndarray, tagged: Tagged) -> float:
    """How often the most probable tag is the true one, over all words."""
    valid = np.arange(tagged.words.shape[1]) < tagged.lengths[:, None]
    return float((posterior.argmax(-1) == tagged.tags)[valid].mean())


def _draw(probabilities: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One draw from each row."""
    sums = probabilities.cumsum(1)
    return (sums < random.random((len(sums), 1)) * sums[:, -1:]).sum(1)


def _normalised(weights: np.ndarray) -> np.ndarray:
    """Shares of the sum of each row; zeros where that is zero, past a sentence's end."""
    total = weights.sum(-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
