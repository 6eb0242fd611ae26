"""The classifier and the tagger: equal to their parts, blind to padding, honest about dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import InputError, gru, lstm
from seqjax.layers.pooling import POOLINGS
from seqjax.models import Feature, SequenceClassifier, SequenceTagger
from seqjax.training.labelling import at_length, tag_losses
from seqjax.training.modules import split_model
from tests.support.randomness import randomise
from tests.support.tiers import long_only

B, T, V, C = 4, 6, 9, 3
LENGTHS = np.array([6, 1, 4, 2])


def random_values(model, seed=1):
    graphdef, params, *_ = split_model(model)
    return nnx.merge(graphdef, randomise(params, seed))


def classifier(**kwargs):
    kwargs = {"embedding_size": 5} | kwargs
    return random_values(SequenceClassifier(V, C, [lstm(4)], rngs=nnx.Rngs(0), **kwargs))


def tagger(**kwargs):
    features = [Feature(V, 5), Feature(4, 3)]
    return random_values(SequenceTagger(features, C, [gru(4)], rngs=nnx.Rngs(0), **kwargs))


def tokens(seed=2):
    return np.random.default_rng(seed).integers(V, size=(B, T))


def features(seed=3):
    random = np.random.default_rng(seed)
    return np.stack([random.integers(V, size=(B, T)), random.integers(4, size=(B, T))], -1)


@pytest.mark.parametrize("bidirectional", [long_only(False), True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_padded_row_is_classified_as_alone(pooling, bidirectional):
    model = classifier(pooling=pooling, bidirectional=bidirectional)
    logits = model(jnp.asarray(tokens()), LENGTHS)
    assert logits.shape == (B, C)
    for row, length in enumerate(LENGTHS):
        alone = model(jnp.asarray(tokens()[row : row + 1, :length]))
        np.testing.assert_allclose(logits[row], alone[0], rtol=1e-5, atol=1e-5)


def test_the_last_of_both_directions_is_their_final_states():
    model = classifier(pooling="last", bidirectional=True)
    xs = model.embedding(jnp.asarray(tokens()))
    ((forward, backward),), ys = model.stack(xs, lengths=LENGTHS)
    wanted = jnp.concatenate([forward.h, backward.h], -1)
    np.testing.assert_allclose(model.pooled(ys, LENGTHS), wanted, rtol=1e-6)


@pytest.mark.parametrize("letters", [False, long_only(True)])
def test_a_padded_row_is_tagged_as_alone(letters):
    random = np.random.default_rng(5)
    given = {}
    model = tagger()
    if letters:
        model = tagger(letters=Feature(7, 3), letter_cell=lstm(2))
        words = random.integers(1, 7, size=(B, T, 5))
        given["letters"] = np.where(np.arange(5) < random.integers(1, 6, size=(B, T, 1)), words, 0)
    emissions = model(jnp.asarray(features()), LENGTHS, **given)
    for row, length in enumerate(LENGTHS):
        own = {name: value[row : row + 1, :length] for name, value in given.items()}
        alone = model(jnp.asarray(features()[row : row + 1, :length]), **own)
        np.testing.assert_allclose(emissions[row, :length], alone[0], rtol=1e-5, atol=1e-5)


def test_letters_past_a_words_end_are_not_read():
    model = tagger(letters=Feature(7, 3), letter_cell=lstm(2))
    short = np.array([[[1, 2, 0, 0]]])
    one = model(jnp.asarray(features()[:1, :1]), letters=jnp.asarray(short))
    two = model(jnp.asarray(features()[:1, :1]), letters=jnp.asarray(short[..., :2]))
    np.testing.assert_allclose(one, two, rtol=1e-6)


@pytest.mark.parametrize("transitions", [long_only(False), True])
def test_losses_and_gradients_do_not_see_the_padding(transitions):
    model = tagger(transitions=transitions)
    tags = np.random.default_rng(4).integers(C, size=(B, T))
    valid = np.arange(T) < LENGTHS[:, None]
    clean = model(jnp.asarray(features()), LENGTHS)
    dirty = jnp.where(valid[..., None], clean, jnp.nan)

    def loss(emissions, tags):
        return tag_losses(emissions, tags, LENGTHS, model.transitions()).sum()

    value, gradient = jax.value_and_grad(loss)(clean, jnp.asarray(tags))
    other, other_gradient = jax.value_and_grad(loss)(dirty, jnp.asarray(np.where(valid, tags, -5)))
    np.testing.assert_array_equal(value, other)
    np.testing.assert_array_equal(gradient, other_gradient)
    if not transitions:
        chances = np.asarray(jax.nn.log_softmax(clean))
        wanted = -sum(chances[i, t, tags[i, t]] for i in range(B) for t in range(LENGTHS[i]))
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_best_tags_are_those_of_the_softmax_or_of_the_chain():
    plain, chain = tagger(), tagger(transitions=True)
    emissions = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, C)), jnp.float32)
    np.testing.assert_array_equal(plain.best_tags(emissions, LENGTHS), emissions.argmax(-1))
    chain.between[...] = jnp.where(jnp.eye(C) > 0, -1e4, 0.0)
    tags = np.asarray(chain.best_tags(emissions, np.full(B, T)))
    assert np.all(tags[:, 1:] != tags[:, :-1])


def test_cut_to_a_length_the_values_are_the_same():
    model = classifier()
    ids = jnp.asarray(tokens())

    def logits(ids, lengths, tops):
        return at_length(tops, lengths, lambda ids: model(ids, lengths), ids)

    for longest in (1, 2, 5, 6):
        lengths = jnp.minimum(LENGTHS, longest)
        cut = jax.jit(logits, static_argnums=2)(ids, lengths, (2, 4, 6))
        np.testing.assert_allclose(cut, model(ids, lengths), rtol=1e-5, atol=1e-6)


def test_dropout_only_with_a_key():
    model = classifier(dropout=0.5)
    ids = jnp.asarray(tokens())
    first, second = (model(ids, LENGTHS, dropout_key=jax.random.key(k)) for k in (0, 1))
    np.testing.assert_array_equal(model(ids, LENGTHS), classifier(dropout=0.0)(ids, LENGTHS))
    assert np.any(np.abs(first - second) > 1e-3)


def test_given_vectors_are_the_first_embedding():
    vectors = np.random.default_rng(0).normal(size=(V, 5)).astype(np.float32)
    model = SequenceClassifier(V, C, [lstm(4)], embedding_size=5, vectors=vectors, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(model.embedding.embedding[...], vectors)
    with pytest.raises(InputError, match="vectors must have shape"):
        SequenceClassifier(V, C, [lstm(4)], embedding_size=4, vectors=vectors, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classifier(pooling="median"), "pooling must be one of last, mean, max"),
        (lambda: SequenceTagger([], C, [gru(2)], rngs=nnx.Rngs(0)), "at least one feature"),
        (lambda: tagger(letters=Feature(7, 3)), "letter_cell"),
        (
            lambda: tagger(letters=Feature(7, 3), letter_cell=gru(2))(jnp.asarray(features())),
            "reads letters",
        ),
        (lambda: tagger()(jnp.asarray(features())[..., :1]), r"features \[B, T, 2\], got"),
        (lambda: tagger()(jnp.zeros((B, T, 3), int)), r"features \[B, T, 2\], got"),
        (lambda: tagger()(jnp.zeros((B, T), int)), r"features \[B, T, 2\], got"),
        (
            lambda: tagger()(jnp.asarray(features()), letters=jnp.zeros((B, T, 3), int)),
            "reads no letters",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()
