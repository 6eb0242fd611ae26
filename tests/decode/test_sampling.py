"""Generation: greedy and random draws, and a real model streamed one token at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import gru, lstm
from seqjax.decode.sampling import generate, pick
from seqjax.errors import InputError
from seqjax.models import LanguageModel
from seqjax.training.language_modelling import make_sample
from seqjax.training.modules import split_model

V = 6
TABLE = np.random.default_rng(0).normal(size=(V, V, V)).astype(np.float32) * 2


def bigram_step(state, token):
    """The next token's logits depend on the last two tokens."""
    return token, jnp.asarray(TABLE)[state, token]


def test_greedy_is_the_argmax_loop():
    rng = np.random.default_rng(1)
    prime = rng.integers(V, size=(3, 4))
    start = rng.integers(V, size=3)
    for key in range(2):
        tokens = generate(
            bigram_step,
            jnp.asarray(start),
            jnp.asarray(prime),
            jax.random.key(key),
            length=9,
            temperature=0,
        )
        assert tokens.dtype == jnp.int32
        for row in range(3):
            text = prime[row].tolist()
            for _ in range(9):
                text.append(int(np.argmax(TABLE[text[-2], text[-1]])))
            assert tokens[row].tolist() == text[4:]


def test_a_prime_of_one_token_reads_the_state():
    step = jax.tree_util.Partial(bigram_step)
    for start in range(V):
        tokens = generate(
            step, jnp.array([start]), jnp.array([[2]]), jax.random.key(0), length=1, temperature=0
        )
        assert int(tokens[0, 0]) == int(np.argmax(TABLE[start, 2]))


def draws(logits, count=20_000, seed=0, **kwargs):
    keys = jax.random.split(jax.random.key(seed), count)
    tokens = jax.vmap(lambda key: pick(logits, key, **kwargs))(keys)
    return np.bincount(np.asarray(tokens), minlength=len(logits)) / count


@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 0), (1.0, 0), (2.5, 0), (0.7, 3), (1, V)])
def test_frequencies_are_the_softmax(temperature, top_k):
    logits = np.random.default_rng(2).normal(size=V).astype(np.float32) * 1.5
    weights = np.exp(logits / temperature)
    if top_k:
        weights[np.argsort(logits)[:-top_k]] = 0
    expected = weights / weights.sum()
    actual = draws(jnp.asarray(logits), temperature=temperature, top_k=top_k)
    # Five standard deviations of a binomial share: once in 2 million, and the seed is fixed.
    bound = 5 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-9
    assert np.all(np.abs(actual - expected) <= bound)


def test_draws_of_a_sequence_follow_the_chain():
    """Every step has its own key: transitions have the model's own frequencies."""
    prime, state = jnp.zeros((500, 1), jnp.int32), jnp.zeros(500, jnp.int32)
    tokens = np.asarray(generate(bigram_step, state, prime, jax.random.key(3), length=60))
    logits = TABLE[tokens[:, :-2], tokens[:, 1:-1]]
    probabilities = np.asarray(jax.nn.softmax(logits))
    counts = np.bincount(tokens[:, 2:].ravel(), minlength=V)
    expected = probabilities.sum((0, 1))
    deviation = np.sqrt((probabilities * (1 - probabilities)).sum((0, 1)))
    assert np.all(np.abs(counts - expected) < 5 * deviation)
    assert len({row.tobytes() for row in tokens}) == 500


def test_top_1_is_greedy_and_top_k_stays_inside():
    logits = jnp.asarray(np.random.default_rng(4).normal(size=(2000, V)) * 0.1, jnp.float32)
    order = np.argsort(-np.asarray(logits), -1)
    for k in range(1, V):
        tokens = np.asarray(pick(logits, jax.random.key(k), top_k=k, temperature=3.0))
        places = np.argmax(order == tokens[:, None], -1)
        assert set(places) == set(range(k))


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-37, 1e-40])
def test_a_tiny_temperature_is_greedy(temperature):
    logits = jnp.asarray(np.random.default_rng(5).normal(size=(50, V)) + 200, jnp.float32)
    tokens = pick(logits, jax.random.key(0), temperature=temperature)
    np.testing.assert_array_equal(tokens, np.argmax(logits, -1))


def test_ties_take_the_first_token_and_what_is_excluded_is_never_drawn():
    logits = jnp.array([[0.0, 3.0, 3.0], [-jnp.inf, -jnp.inf, -1.0], [2.0, 2.0, 2.0]])
    assert pick(logits, jax.random.key(0), temperature=0.0).tolist() == [1, 2, 0]
    excluded = jnp.where(jnp.arange(V) == 2, 0.3, -jnp.inf)
    assert draws(excluded, 200)[2] == 1


def test_top_k_keeps_k_of_equals():
    ties = jnp.array([1.0, 3.0, 3.0, 3.0, 0.0, 2.0])
    for k, kept in ((1, {1}), (2, {1, 2}), (3, {1, 2, 3})):
        assert set(np.flatnonzero(draws(ties, 200, top_k=k))) == kept


@pytest.mark.parametrize("temperature", [0.0, 1e-40, 0.7])
def test_a_traced_temperature_draws_the_same(temperature):
    logits = jnp.asarray(np.random.default_rng(8).normal(size=(50, V)), jnp.float32)
    key, prime = jax.random.key(0), jnp.array([[1, 2]])
    traced = jax.jit(lambda t: pick(logits, key, temperature=t, top_k=3))(temperature)
    known = pick(logits, key, temperature=temperature, top_k=3)
    np.testing.assert_array_equal(traced, known)

    def run(temperature):
        start = jnp.array([0])
        return generate(bigram_step, start, prime, key, length=5, temperature=temperature)

    np.testing.assert_array_equal(jax.jit(run)(temperature), run(temperature))


@pytest.mark.parametrize("temperature", [-1, float("nan"), float("inf")])
def test_pick_refuses_what_generate_refuses(temperature):
    with pytest.raises(InputError, match="temperature must be a finite number"):
        pick(jnp.zeros(V), jax.random.key(0), temperature=temperature)
    with pytest.raises(InputError, match="top_k must be 0"):
        pick(jnp.zeros(V), jax.random.key(0), top_k=-1)


@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, 0), (0.9, 4)])
def test_a_language_model_streams_as_a_loop_of_single_steps(temperature, top_k):
    cells = [lstm(5), gru(4)]
    model = LanguageModel(V, cells, embedding_size=3, dropout=0.5, rngs=nnx.Rngs(0))
    model.head.bias[...] = jnp.asarray(np.random.default_rng(6).normal(size=V), jnp.float32)
    graphdef, params, *_ = split_model(model)
    prime = np.random.default_rng(7).integers(V, size=(2, 3))
    sample = make_sample(graphdef, length=6, temperature=temperature, top_k=top_k)
    tokens = sample(params, jnp.asarray(prime), jax.random.key(1))

    state, logits = model(jnp.asarray(prime), model.initial_state(2))
    logits = logits[:, -1]
    for t, key in enumerate(jax.random.split(jax.random.key(1), 6)):
        token = pick(logits, key, temperature=temperature, top_k=top_k)
        np.testing.assert_array_equal(tokens[:, t], token)
        state, logits = model(token[:, None], state)
        logits = logits[:, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 0}, "length must be an integer of at least 1, got 0"),
        ({"temperature": -0.5}, r"temperature must be .* got -0\.5"),
        ({"temperature": float("nan")}, r"temperature must be .* got nan"),
        ({"temperature": float("inf")}, r"temperature must be .* got inf"),
        ({"top_k": -1}, r"top_k must be .* got -1"),
        ({"prime": jnp.zeros((2, 0), jnp.int32)}, r"got shape \(2, 0\)"),
        ({"prime": jnp.zeros(3, jnp.int32)}, r"got shape \(3,\)"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"prime": jnp.zeros((1, 2), jnp.int32), "key": jax.random.key(0), "length": 2}
    with pytest.raises(InputError, match=message):
        generate(bigram_step, jnp.zeros(1, jnp.int32), **arguments | change)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_top_p_draws_among_the_fewest_tokens_of_that_probability(temperature):
    logits = jnp.log(jnp.array([0.1, 0.4, 0.2, 0.25, 0.05]))
    p = np.asarray(jax.nn.softmax(logits / temperature))
    for top_p in (0.01, 0.5, 0.86, 0.99):
        ranked = np.argsort(-p)
        count = int(np.searchsorted(np.cumsum(p[ranked]), top_p)) + 1
        wanted = np.zeros_like(p)
        wanted[ranked[:count]] = p[ranked[:count]] / p[ranked[:count]].sum()
        found = draws(logits, temperature=temperature, top_p=top_p)
        assert np.all((found > 0) == (wanted > 0))
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_a_repetition_penalty_makes_what_was_there_less_probable():
    logits = jnp.array([2.0, 1.0, -1.0, 0.0])

    def step(state, token):
        return state, logits

    def second(prime, penalty):
        """The first token drawn after a prime, greedily."""
        how = {"length": 3, "temperature": 0, "repetition_penalty": penalty}
        prime = jnp.array([prime])
        return generate(step, jnp.zeros(1), prime, jax.random.key(0), **how)[0].tolist()

    assert second([3], 1.0) == [0, 0, 0]
    assert second([3], 2.5) == [0, 1, 0]  # 2 / 2.5 = .8 < 1; and then 1 / 2.5 = .4 < .8
    assert second([0], 2.5) == [1, 0, 0]  # the prime counts, too


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"top_p": 0.0}, "top_p must"),
        ({"top_p": 1.5}, "top_p must"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must"),
    ],
)
def test_choices_out_of_range(how, message):
    with pytest.raises(InputError, match=message):
        generate(
            bigram_step,
            jnp.zeros(1, int),
            jnp.zeros((1, 1), int),
            jax.random.key(0),
            length=1,
            **how,
        )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_half_precision_logits_are_drawn_evenly(dtype, top_p):
    """Equal logits: the first tenth of 1,000 tokens has a tenth of what is drawn, of a nucleus its share."""
    keys = jax.random.split(jax.random.key(0), 5000)
    drawn = jax.vmap(lambda key: pick(jnp.zeros(1000, dtype), key, top_p=top_p))(keys)
    np.testing.assert_allclose(np.mean(np.asarray(drawn) < 100), 0.1 / top_p, atol=0.015)
    assert drawn.max() < 1000 * top_p + 1


def test_a_temperature_may_be_an_array_of_one_number():
    how = jnp.array([0]), jnp.array([[2]]), jax.random.key(0)
    of_float, *of_arrays = (
        generate(bigram_step, *how, length=9, temperature=temperature).tolist()
        for temperature in (0.5, jnp.float32(0.5), np.float64(0.5), np.array(0.5))
    )
    assert of_arrays == [of_float] * 3
    with pytest.raises(InputError, match=r"one number, got an array of shape \(2,\)"):
        generate(bigram_step, *how, length=9, temperature=jnp.ones(2))
