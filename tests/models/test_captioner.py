"""The captioner: step by step, its four entries, and the network of pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import InputError, lstm, rnn
from seqjax.models import Captioner, FrameLabeller, ImageEncoder, QuestionAnswerer
from seqjax.models.captioner import ENTRIES
from seqjax.training.modules import merge_model, split_model
from tests.support.randomness import randomise
from tests.support.tiers import long_only

B, T, V = 2, 4, 7
TOKENS = jax.random.randint(jax.random.key(0), (B, T), 0, V)
GRID = jax.random.normal(jax.random.key(1), (B, 3, 5))


def make(entry, cell=lstm, **changes):
    options = {"features": (3, 5), "embedding_size": 6, "entry": entry} | changes
    model = Captioner(V, [cell(4)], rngs=nnx.Rngs(0), **options)
    split = split_model(model)
    return merge_model(split, randomise(split.params, 1))


@pytest.mark.parametrize("entry", ["step", *map(long_only, sorted({*ENTRIES} - {"step"}))])
def test_a_sentence_is_word_by_word_and_about_the_image(entry):
    model = make(entry)
    logits = jax.jit(lambda images: model(images, TOKENS))(GRID)
    context, state = model.look(GRID)
    for t in range(T):
        state, found = model.step(context, state, TOKENS[:, t])
        np.testing.assert_allclose(found, logits[:, t], rtol=1e-4, atol=1e-5)
    assert not np.allclose(model(GRID[::-1], TOKENS), logits)


def test_at_every_step_the_image_enters_as_the_lectures_have_it():
    """h = tanh(W_xh x + W_hh h + W_ih v + b), in NumPy."""
    model = make("step", cell=rnn, features=(5,))
    images = GRID[:, 0]
    logits = model(images, TOKENS)
    p = jax.tree.map(np.asarray, model.decoder.lowest.arrays())
    w_xh, w_ih = p["w"][:6], p["w"][6:]
    v = np.tanh(images @ np.asarray(model.project.kernel) + np.asarray(model.project.bias))
    h = np.zeros((B, 4))
    for t in range(T):
        x = np.asarray(model.decoder.embedding.embedding)[TOKENS[:, t]]
        h = np.tanh(x @ w_xh + h @ p["u"] + v @ w_ih + p["b"])
        r = np.tanh(np.asarray(model.decoder.readout(jnp.concatenate([h, v, x], -1))))
        np.testing.assert_allclose(model.decoder.head(r), logits[:, t], rtol=1e-4, atol=1e-5)


def test_pixels_become_a_grid_that_knows_where_things_are():
    encoder = ImageEncoder(3, (4, 5), rngs=nnx.Rngs(0))
    assert encoder.grid(16, 12) == (4 * 3, 5)
    flat = jnp.ones((1, 16, 12, 3)) * 0.3
    found = encoder(flat)
    assert found.shape == (1, 12, 5)
    assert not np.allclose(found[0, 0], found[0, -1])  # the same colour, elsewhere
    model = make("attention", features=(12, 5), encoder=encoder)
    assert model(jnp.concatenate([flat, flat * 2]), TOKENS).shape == (B, T, V)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entry": "last"}, "entry must be one of step, first, state, attention"),
        ({"entry": "attention", "features": (5,)}, "attention needs a grid of features"),
        ({"features": (1, 2, 3)}, r"features must be \(F,\) or \(S, F\)"),
    ],
)
def test_what_it_refuses(options, message):
    with pytest.raises(InputError, match=message):
        make(**{"entry": "step"} | options)
    with pytest.raises(InputError, match=r"features must be of shape \('B', 3, 5\), got"):
        make("step")(GRID[..., :4], TOKENS)


def test_at_every_step_no_first_state_is_made():
    assert not hasattr(make("step").decoder, "bridges")
    assert hasattr(make("state").decoder, "bridges")


def test_pictures_that_an_encoder_cannot_read():
    encoder = ImageEncoder(3, (4, 4, 4), rngs=nnx.Rngs(0))
    assert encoder.grid(7, 7) == (1, 4)
    with pytest.raises(InputError, match="at least 7 x 7 pixels, got 6 x 9"):
        encoder.grid(6, 9)
    with pytest.raises(InputError, match=r"images must be of shape \('B', 'Y', 'X', 3\), got"):
        encoder(jnp.zeros((2, 8, 8, 1)))


def test_its_layers_are_convolutions():
    encoder = ImageEncoder(3, (4,), rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
    y = jnp.broadcast_to(jnp.linspace(-1, 1, 7)[:, None, None], (2, 7, 6, 1))
    x = jnp.broadcast_to(jnp.linspace(-1, 1, 6)[:, None], (2, 7, 6, 1))
    layer = encoder.layers[0]
    wanted = jax.lax.conv_general_dilated(
        jnp.concatenate([images, y, x], -1),
        layer.kernel.get_value().reshape(3, 3, 5, 4),
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    found = encoder(images).reshape(2, 4, 3, 4)
    np.testing.assert_allclose(found, jax.nn.relu(wanted + layer.bias.get_value()), atol=1e-5)


def test_its_layers_are_connected_as_is_said():
    """The same parameters, and other outputs."""
    captioners = [
        Captioner(
            V, [lstm(4)] * 2, features=(5,), embedding_size=4, connections=name, rngs=nnx.Rngs(0)
        )
        for name in ("plain", "residual")
    ]
    assert not np.allclose(*(model(GRID[:, 0], TOKENS) for model in captioners))
    films = [
        FrameLabeller(
            3, [lstm(4)] * 2, frame=(5,), hidden_size=4, connections=name, rngs=nnx.Rngs(0)
        )
        for name in ("plain", "residual")
    ]
    assert not np.allclose(*(model(GRID) for model in films))
    askers = [
        QuestionAnswerer(
            V,
            3,
            [lstm(4)] * 2,
            features=(5,),
            embedding_size=4,
            hidden_size=4,
            connections=name,
            rngs=nnx.Rngs(0),
        )
        for name in ("plain", "residual")
    ]
    assert not np.allclose(*(model(GRID[:, 0], TOKENS, jnp.full(B, T)) for model in askers))
