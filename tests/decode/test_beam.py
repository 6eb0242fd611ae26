"""Beam search against all strings, greedy decoding, and the teacher-forced probabilities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import InputError, gru
from seqjax.decode.beam import LENGTH_PENALTIES, beam_search
from tests.support.randomness import randomise
from tests.support.tiers import long_only

V, B, T = 3, 2, 4
END = 2
CELL = gru(5)
PARAMS = randomise({"cell": CELL.init(jax.random.key(0), V + 1), "head": jnp.zeros((5, V))}, 1)
START = V  # a token that is read first and never written


def step(bias, state, token):
    """A model whose every source has a bias of its own; the state remembers all tokens."""
    state, y = CELL.step(PARAMS["cell"], state, jax.nn.one_hot(token, V + 1))
    return state, 3 * (y @ PARAMS["head"]) + bias


def problem(seed=0, batch=B):
    bias = jnp.asarray(np.random.default_rng(seed).normal(size=(batch, V)), jnp.float32)
    state = jax.tree.map(jnp.asarray, randomise(CELL.initial_state((batch,)), seed + 1))
    return bias, state, jnp.full(batch, START)


def search(problem, model=step, **kwargs):
    kwargs = {"length": T, "end": END} | kwargs
    return jax.jit(lambda *p: beam_search(model, *p, **kwargs))(*problem)


def log_probability(bias, state, tokens):
    total, last = 0.0, START
    for token in tokens:
        state, logits = step(bias, state, last)
        total += float(jax.nn.log_softmax(logits)[token])
        last = token
    return total


def divided(log_p, count, penalty, alpha=0.6):
    by = {"none": 1, "average": count, "wu": ((5 + count) / 6) ** alpha}
    return log_p / by[penalty]


def all_strings():
    """Every string that ends, or is cut at T tokens."""
    others = [v for v in range(V) if v != END]
    for count in range(T):
        yield from ((*p, END) for p in itertools.product(others, repeat=count))
    yield from itertools.product(others, repeat=T)


@pytest.mark.parametrize("penalty", LENGTH_PENALTIES)
def test_a_wide_beam_equals_a_search_through_all_strings(penalty):
    bias, state, first = problem()
    strings = list(all_strings())
    found = search((bias, state, first), width=len(strings) + 5, length_penalty=penalty)
    for row in range(B):
        alone = jax.tree.map(lambda a, row=row: a[row], state)
        totals = {s: log_probability(bias[row], alone, s) for s in strings}
        ranked = sorted(strings, key=lambda s: -divided(totals[s], len(s), penalty))
        for place, string in enumerate(ranked):
            length = int(found.lengths[row, place])
            assert tuple(found.tokens[row, place, :length].tolist()) == string
            assert np.all(found.tokens[row, place, length:] == END)
            np.testing.assert_allclose(found.log_probs[row, place], totals[string], rtol=1e-4)
        assert np.all(found.scores[row, len(strings) :] == -np.inf)  # there are no more
        assert not found.lengths[row, len(strings) :].any()


def test_one_beam_is_greedy_decoding():
    for seed in range(10):
        bias, state, first = problem(seed)
        found = search((bias, state, first), width=1)
        for row in range(B):
            s, last, tokens = jax.tree.map(lambda a, row=row: a[row], state), START, []
            while len(tokens) < T and last != END:
                s, logits = step(bias[row], s, last)
                last = int(jnp.argmax(logits))
                tokens.append(last)
            assert found.tokens[row, 0, : found.lengths[row, 0]].tolist() == tokens


@pytest.mark.parametrize("kwargs", [long_only({}), {"groups": 2, "diversity": 0.5}])
@pytest.mark.parametrize("penalty", LENGTH_PENALTIES)
def test_scores_are_teacher_forced_ones_and_sorted(penalty, kwargs):
    bias, state, first = problem(3)
    found = search((bias, state, first), width=4, length_penalty=penalty, alpha=1.3, **kwargs)
    for row in range(B):
        alone = jax.tree.map(lambda a, row=row: a[row], state)
        for beam in range(4):
            tokens = found.tokens[row, beam, : found.lengths[row, beam]].tolist()
            log_p = log_probability(bias[row], alone, tokens)
            np.testing.assert_allclose(found.log_probs[row, beam], log_p, rtol=1e-4)
            wanted = divided(log_p, len(tokens), penalty, 1.3)
            np.testing.assert_allclose(found.scores[row, beam], wanted, rtol=1e-4)
        assert np.all(np.diff(found.scores[row]) <= 0)


def test_a_batch_is_its_rows_searched_alone():
    bias, state, first = problem(4, batch=3)
    together = search((bias, state, first), width=3)
    for row in range(3):
        alone = jax.tree.map(lambda a, row=row: a[row : row + 1], (bias, state, first))
        found = search(alone, width=3)
        np.testing.assert_array_equal(found.tokens[0], together.tokens[row])
        np.testing.assert_allclose(found.scores[0], together.scores[row], rtol=1e-5)


def test_permuting_the_vocabulary_permutes_the_result():
    order = np.array([2, 0, 1])  # old token v is new token order[v]

    def permuted(bias, state, token):
        old = jnp.where(token == START, START, jnp.argsort(jnp.asarray(order))[token % V])
        state, logits = step(bias, state, old)
        return state, jnp.zeros(V).at[order].set(logits)

    plain = search(problem(5), width=3)
    other = search(problem(5), model=permuted, width=3, end=int(order[END]))
    np.testing.assert_array_equal(order[np.asarray(plain.tokens)], other.tokens)


def chain(table):
    """A Markov chain: the state is the last token."""
    table = jnp.log(jnp.asarray(table))
    return lambda context, state, token: (token, table[token])


def test_greedy_loses_on_a_garden_path():
    """.6 leads to .4 at the best, .4 to .9: greedy finds .24, two beams .36."""
    a, b, c, end, start = range(5)
    table = np.zeros((5, 4))
    table[start, [a, b]] = 0.6, 0.4
    table[a, [a, b, c]] = 0.4, 0.35, 0.25
    table[b, [c, a]] = 0.9, 0.1
    table[c, end] = 1
    first = jnp.array([start])
    state = jnp.array([start])
    for width, tokens, p in ((1, [a, a], 0.24), (2, [b, c], 0.36)):
        found = beam_search(chain(table), (), state, first, width=width, length=2, end=end)
        assert found.tokens[0, 0].tolist() == tokens
        np.testing.assert_allclose(np.exp(found.log_probs[0, 0]), p, rtol=1e-5)


def test_a_certain_end_gives_the_empty_string():
    table = np.zeros((3, 2))
    table[:, 1] = 1
    found = beam_search(chain(table), (), jnp.array([2]), jnp.array([2]), width=2, length=5, end=1)
    assert found.tokens[0, 0].tolist() == [1] * 5
    assert found.lengths[0].tolist() == [1, 0]
    assert found.scores[0].tolist() == [0, -np.inf]


def test_of_equal_scores_the_lower_token_comes_first():
    table = np.full((4, 4), 0.25)
    found = beam_search(chain(table), (), jnp.array([0]), jnp.array([0]), width=3, length=1, end=3)
    assert found.tokens[0, :, 0].tolist() == [0, 1, 2]


def test_forbidden_and_impossible_tokens_never_appear():
    bias, state, first = problem(6)
    found = search((bias, state, first), width=4, forbidden=(0,))
    assert not np.any(np.asarray(found.tokens) == 0)
    impossible = bias.at[:, 1].set(-jnp.inf)
    found = search((impossible, state, first), width=4)
    assert not np.any(
        (np.asarray(found.tokens) == 1) & (np.asarray(found.scores) > -np.inf)[..., None]
    )
    assert not np.any(np.isnan(found.scores))


def test_groups_without_diversity_are_the_same_search():
    found = search(problem(7), width=4, groups=2)
    half = search(problem(7), width=2)
    for place in range(2):  # each group finds what the other finds
        np.testing.assert_array_equal(found.tokens[:, 2 * place], half.tokens[:, place])
        np.testing.assert_array_equal(found.tokens[:, 2 * place + 1], half.tokens[:, place])


def test_diverse_groups_begin_differently():
    found = search(problem(8), width=2, groups=2, diversity=100.0)
    assert np.all(found.tokens[:, 0, 0] != found.tokens[:, 1, 0])


def test_the_loop_ends_when_nothing_can_be_overtaken():
    """A step that fails after three tokens is never reached where the end is certain by then."""
    table = np.zeros((3, 3))
    table[0, [1, 2]] = 0.5, 0.5
    table[1, 2] = 1

    def counted(context, state, token):
        return state + 1, jnp.where(state > 3, jnp.nan, jnp.log(jnp.asarray(table)[token]))

    found = beam_search(counted, (), jnp.array([0]), jnp.array([0]), width=2, length=1000, end=2)
    np.testing.assert_allclose(np.exp(found.scores[0]), [0.5, 0.5])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"width": 0}, "width must"),
        ({"width": 3, "groups": 2}, "width must be a multiple of groups"),
        ({"width": 2, "length": 0}, "length must"),
        ({"width": 2, "length_penalty": "gnmt"}, "length_penalty must be one of none, average, wu"),
        ({"width": 2, "diversity": 1.0}, "needs more than one of groups"),
        ({"width": 2, "alpha": -1.0}, "alpha must"),
        ({"width": 2, "forbidden": (-1,)}, "forbidden must be tokens from 0 to"),
        ({"width": 2, "forbidden": (0, 99)}, "forbidden must be tokens from 0 to"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        search(problem(), **kwargs)


def test_without_a_source_there_is_nothing_to_search():
    with pytest.raises(InputError, match=r"B >= 1, got shape \(0,\)"):
        beam_search(lambda *_: None, (), (), jnp.zeros(0, int), width=2, length=3, end=0)


def by_table(table, **how):
    """The search over a chain of tokens whose transitions are the rows of a table; the last token ends."""
    log_p = jnp.log(jnp.asarray(table, jnp.float32))
    end = len(table) - 1
    step = lambda context, state, token: (state + 1, log_p[token])  # noqa: E731
    return beam_search(step, (), jnp.zeros((1, 1)), jnp.array([0]), end=end, **how)


def test_a_token_that_two_beams_of_a_group_chose_counts_twice():
    """.3 e^(-2d) is below .2 and .3 e^(-d) above it: so the second group takes token 4."""
    table = np.zeros((6, 6))
    table[0, [1, 2]] = 0.5
    table[[1, 2], 3], table[[1, 2], 4] = 0.6, 0.4
    table[[3, 4], 5] = 1
    found = by_table(table, width=4, groups=2, diversity=0.3, length=3)
    assert sorted(np.asarray(found.tokens)[0, :, 1].tolist()) == [3, 3, 4, 4]


def test_a_long_string_overtakes_where_its_length_is_divided_by():
    """The short one has ln .7 = -.36 for its one token, the long one ln .3 / 10 = -.12 for each of ten."""
    table = np.zeros((11, 11))
    table[0, 10], table[0, 1] = 0.7, 0.3
    table[range(1, 10), range(2, 11)] = 1
    for penalty, length in (("average", 10), ("none", 1)):
        found = by_table(table, width=1, length=10, length_penalty=penalty)
        assert found.lengths[0, 0] == length
