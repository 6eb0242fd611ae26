"""The linear-chain CRF against all K^L sequences of tags, and against pytorch-crf."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError
from seqjax.layers import crf
from seqjax.layers.crf import Transitions

B, T, K = 5, 4, 3
LENGTHS = np.array([4, 2, 1, 0, 3])


def problem(seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    transitions = Transitions(*(random.normal(size=s).astype(dtype) for s in (K, (K, K), K)))
    return transitions, random.normal(size=(B, T, K)).astype(dtype), random.integers(K, size=(B, T))


def score(transitions, emissions, tags):
    """By the definition, for one row."""
    total = transitions.start[tags[0]] + transitions.end[tags[-1]]
    total += sum(e[t] for e, t in zip(emissions, tags, strict=True))
    return total + sum(transitions.between[a, b] for a, b in itertools.pairwise(tags))


def all_scores(transitions, emissions):
    paths = list(itertools.product(range(K), repeat=len(emissions)))
    return paths, np.array([score(transitions, emissions, path) for path in paths])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_likelihood_is_a_share_of_the_sum_over_all_paths():
    transitions, emissions, tags = problem()
    found = crf.log_likelihood(transitions, emissions, tags, LENGTHS)
    for row, length in enumerate(LENGTHS):
        if not length:
            assert found[row] == 0
            continue
        _, scores = all_scores(transitions, emissions[row, :length])
        wanted = score(transitions, emissions[row, :length], tags[row, :length])
        np.testing.assert_allclose(found[row], wanted - np.log(np.exp(scores).sum()), rtol=1e-12)


def test_viterbi_finds_the_best_of_all_paths():
    for seed in range(10):
        transitions, emissions, _ = problem(seed)
        tags, best = crf.viterbi(transitions, emissions, LENGTHS)
        for row, length in enumerate(LENGTHS):
            assert not np.any(tags[row, length:])
            if length:
                paths, scores = all_scores(transitions, emissions[row, :length])
                assert tuple(tags[row, :length].tolist()) == paths[scores.argmax()]
                np.testing.assert_allclose(best[row], scores.max(), rtol=1e-12)


def test_whatever_the_padding_holds():
    transitions, emissions, tags = problem()
    dirty = np.where((np.arange(T) < LENGTHS[:, None])[..., None], emissions, np.nan)
    wild = np.where(np.arange(T) < LENGTHS[:, None], tags, 10**6)

    def loss(transitions, emissions, tags):
        return crf.log_likelihood(transitions, emissions, tags, LENGTHS).sum()

    clean = jax.value_and_grad(loss, (0, 1))(transitions, emissions, tags)
    padded = jax.value_and_grad(loss, (0, 1))(transitions, dirty, wild)
    jax.tree.map(np.testing.assert_array_equal, clean, padded)
    jax.tree.map(
        np.testing.assert_array_equal,
        crf.viterbi(transitions, emissions, LENGTHS),
        crf.viterbi(transitions, dirty, LENGTHS),
    )


def test_the_gradient_is_true_minus_expected_counts():
    """d ln p / d emission is 1 where the tag is, less the tag's marginal probability."""
    transitions, emissions, tags = problem()
    gradient = jax.grad(lambda e: crf.log_likelihood(transitions, e, tags, LENGTHS).sum())(
        jnp.asarray(emissions)
    )
    for row, length in enumerate(LENGTHS):
        if not length:
            continue
        paths, scores = all_scores(transitions, emissions[row, :length])
        weights = np.exp(scores) / np.exp(scores).sum()
        for t in range(length):
            marginal = [weights[[p[t] == k for p in paths]].sum() for k in range(K)]
            wanted = np.eye(K)[tags[row, t]] - marginal
            np.testing.assert_allclose(gradient[row, t], wanted, atol=1e-12)


def test_equals_pytorch_crf():
    torch = pytest.importorskip("torch")
    torchcrf = pytest.importorskip("torchcrf")
    transitions, emissions, tags = problem(3)
    lengths = np.maximum(LENGTHS, 1)  # it takes no empty row
    peer = torchcrf.CRF(K, batch_first=True).double()
    values = zip(
        (peer.start_transitions, peer.transitions, peer.end_transitions), transitions, strict=True
    )
    for parameter, value in values:
        parameter.data = torch.tensor(value)
    mask = torch.tensor(np.arange(T) < lengths[:, None])
    theirs = peer(torch.tensor(emissions), torch.tensor(tags), mask, reduction="none")
    ours = crf.log_likelihood(transitions, emissions, tags, lengths)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10)
    found, _ = crf.viterbi(transitions, emissions, lengths)
    for row, path in enumerate(peer.decode(torch.tensor(emissions), mask)):
        assert found[row, : lengths[row]].tolist() == path


def test_sums_over_many_steps_in_half_precision_are_sums():
    """The best of all paths over 300 steps: its probability stays below 1, and near that in float32."""
    rng = np.random.default_rng(0)
    half = jnp.bfloat16
    emissions = jnp.asarray(3 * rng.normal(size=(2, 300, K)), half)
    transitions = Transitions(jnp.zeros(K, half), jnp.eye(K, dtype=half), jnp.zeros(K, half))
    lengths = np.array([300, 280])
    tags, best = crf.viterbi(transitions, emissions, lengths)
    found = crf.log_likelihood(transitions, emissions, tags, lengths)
    assert found.dtype == best.dtype == jnp.float32
    exact = jax.tree.map(lambda a: a.astype(jnp.float64), (transitions, emissions))
    np.testing.assert_allclose(found, crf.log_likelihood(*exact, tags, lengths), rtol=1e-3)
    np.testing.assert_allclose(best, crf.viterbi(*exact, lengths)[1], rtol=1e-5)
    assert np.all(found < 0)


def test_a_length_above_t_counts_as_t():
    transitions, emissions, tags = problem()
    more, as_many = np.full(B, T + 3), np.full(B, T)
    for of in (crf.log_likelihood(transitions, emissions, tags, n) for n in (more,)):
        np.testing.assert_array_equal(of, crf.log_likelihood(transitions, emissions, tags, as_many))


def test_a_forbidden_transition_is_never_taken():
    transitions, emissions, _ = problem()
    forbidden = transitions._replace(between=np.where(np.eye(K), -1e4, transitions.between))
    tags, _ = crf.viterbi(forbidden, emissions, np.full(B, T))
    assert np.all(tags[:, 1:] != tags[:, :-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": np.zeros(2)}, "transitions.start must have shape"),
        ({"between": np.zeros((3, 2))}, "transitions.between must have shape"),
    ],
)
def test_shapes_that_do_not_fit(change, message):
    transitions, emissions, tags = problem()
    with pytest.raises(InputError, match=message):
        crf.log_likelihood(transitions._replace(**change), emissions, tags, LENGTHS)
