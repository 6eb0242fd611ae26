"""The encoder-decoder: equal to its parts step by step, blind to padding, and to beam search's scores."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import CELLS, InputError, gru, lstm, rnn, variational_dropout
from seqjax.data.tokens import END, PAD, START
from seqjax.decode import beam_search
from seqjax.models import EncoderDecoder
from seqjax.models.decoder import Decoder
from seqjax.training.modules import merge_model, split_model
from seqjax.training.scheduled_sampling import mix_tokens
from seqjax.training.translation import target_losses
from tests.support.randomness import randomise
from tests.support.tiers import long_only

B, S, T, V_S, V_T = 3, 6, 5, 9, 8
LENGTHS = jnp.array([6, 2, 4])
SOURCE = jax.random.randint(jax.random.key(0), (B, S), 4, V_S)
TOKENS = jax.random.randint(jax.random.key(1), (B, T), 4, V_T).at[:, 0].set(START)
KINDS = {
    "sutskever": {"bridge": "copy", "reverse_source": True},
    "cho": {"bridge": "context"},
    "bahdanau": {"attention": "additive", "bidirectional": True, "tie_weights": True},
    "luong": {"attention": "general", "bridge": "copy", "connections": "residual"},
}
SOME = ["bahdanau", *map(long_only, ["luong", "sutskever", "cho"])]


def make(kind, layers=2, cell=gru, **changes):
    cells = [cell(6)] * layers
    options = {"embedding_size": 5} | KINDS[kind] | changes
    model = EncoderDecoder(V_S, V_T, cells, cells, rngs=nnx.Rngs(0), **options)
    split = split_model(model)
    return merge_model(split, randomise(split.params, 2))


@pytest.mark.parametrize("kind", SOME)
def test_teacher_forcing_is_step_by_step(kind):
    model = make(kind)
    logits = model(SOURCE, LENGTHS, TOKENS)
    context, state = model.encode(SOURCE, LENGTHS)
    step = jax.jit(partial(model.step, context))
    for t in range(T):
        state, found = step(state, TOKENS[:, t])
        np.testing.assert_allclose(found, logits[:, t], rtol=1e-4, atol=1e-5)
    # ... and from the middle
    _, state = model.encode(SOURCE, LENGTHS)
    state, first = model.decoder(context, state, TOKENS[:, :2])
    _, second = model.decoder(context, state, TOKENS[:, 2:])
    both = jnp.concatenate([first, second], 1)
    np.testing.assert_allclose(both, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.long
def test_each_row_is_what_it_is_alone_and_padding_is_nothing(kind):
    model = make(kind, layers=1)
    logits = model(SOURCE, LENGTHS, TOKENS)
    wider = jnp.pad(SOURCE, [(0, 0), (0, 7)], constant_values=3)
    np.testing.assert_allclose(model(wider, LENGTHS, TOKENS), logits, rtol=1e-4, atol=1e-5)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(SOURCE[row : row + 1, :length], jnp.array([length]), TOKENS[row : row + 1])
        np.testing.assert_allclose(alone[0], logits[row], rtol=1e-4, atol=1e-5)


def test_a_gru_with_additive_attention_is_its_equations():
    """One layer, one direction, in NumPy and float64."""
    model = make("bahdanau", layers=1, bidirectional=False, cell=rnn)
    logits = np.asarray(model(SOURCE, LENGTHS, TOKENS))

    def array(x):
        return np.asarray(x, np.float64)

    def linear(layer, x):
        return x @ array(layer.kernel) + (0 if layer.bias is None else array(layer.bias))

    def cell(layer, x, h):
        p = jax.tree.map(array, layer.arrays())
        return np.tanh(x @ p["w"] + h @ p["u"] + p["b"])

    source, target = (
        array(model.source_embedding.embedding),
        array(model.decoder.embedding.embedding),
    )
    attention = jax.tree.map(array, model.decoder.attention.arrays())
    for row, length in enumerate(LENGTHS.tolist()):
        h, memory = np.zeros(6), []
        for token in SOURCE[row, :length]:
            h = cell(model.encoder.layers[0], source[token], h)
            memory.append(h)
        memory = np.stack(memory)
        state, output = (np.tanh(linear(bridge, memory[-1])) for bridge in model.decoder.bridges)
        for t, token in enumerate(TOKENS[row]):
            keys = linear(model.decoder.attention.keys, memory)
            scores = np.tanh(output @ attention["query"] + keys) @ attention["score"]
            weights = np.exp(scores) / np.exp(scores).sum()
            read, x = weights @ memory, target[token]
            state = output = cell(model.decoder.lowest, np.concatenate([x, read]), state)
            r = np.tanh(linear(model.decoder.readout, np.concatenate([output, read, x])))
            wanted = r @ target.T + array(model.decoder.head_bias)
            np.testing.assert_allclose(logits[row, t], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["bahdanau", long_only("sutskever")])
def test_scores_of_a_beam_are_teacher_forced_ones(kind):
    model = make(kind, layers=1)
    context, state = model.encode(SOURCE, LENGTHS)
    first = jnp.full(B, START)
    how = {"width": 3, "length": T, "end": END, "forbidden": [PAD]}
    search = jax.jit(lambda *start: beam_search(model.step, *start, **how))
    found = search(context, state, first)
    forced = jax.jit(lambda *inputs: model(*inputs))
    for k in range(3):
        read = jnp.concatenate([first[:, None], found.tokens[:, k, :-1]], 1)
        log_p = jax.nn.log_softmax(forced(SOURCE, LENGTHS, read))
        log_p = jnp.take_along_axis(log_p, found.tokens[:, k, :, None], -1)[..., 0]
        written = jnp.arange(T) < found.lengths[:, k, None]
        wanted = jnp.where(written, log_p, 0).sum(1)
        np.testing.assert_allclose(found.log_probs[:, k], wanted, rtol=1e-4)
    # the model's step knows of no batch: a source alone finds the same
    alone = search(*jax.tree.map(lambda a: a[1:2], (context, state, first)))
    assert np.array_equal(alone.tokens[0], found.tokens[1])


@pytest.mark.long
def test_the_loss_of_a_row_knows_nothing_of_its_batch():
    """So that the gradient of all pairs is the same in whatever order they stand in batches."""
    model = make("bahdanau", layers=1)
    split = split_model(model)
    labels = TOKENS.at[1, 3:].set(PAD)

    @jax.jit
    def loss(params, rows):
        logits = merge_model(split, params)(SOURCE[rows], LENGTHS[rows], TOKENS[rows])
        return target_losses(logits, labels[rows], pad=PAD, label_smoothing=0.1).sum()

    def epoch(batches):
        grads = [jax.grad(loss)(split.params, jnp.array(batch)) for batch in batches]
        return jax.tree.map(lambda *leaves: sum(leaves), *grads)

    for a, b in zip(*map(jax.tree.leaves, (epoch([[0, 1], [2]]), epoch([[2, 0, 1]]))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_label_smoothing_is_its_definition():
    logits, labels = (
        jax.random.normal(jax.random.key(3), (2, 3, 7)),
        jnp.array([[1, 2, 0], [3, 0, 0]]),
    )
    log_p = np.asarray(jax.nn.log_softmax(logits))
    for smoothing in (0.0, 0.2):
        spread = np.full((2, 3, 7), smoothing / 7)
        for row, t in np.ndindex(2, 3):
            spread[row, t, labels[row, t]] += 1 - smoothing
        wanted = -(spread * log_p).sum(-1) * (np.asarray(labels) != PAD)
        broken = jnp.where((labels == PAD)[..., None], jnp.nan, logits)
        found = target_losses(broken, labels, pad=PAD, label_smoothing=smoothing)
        np.testing.assert_allclose(found, wanted.sum(1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["cho", long_only("luong")])
def test_scheduled_sampling_between_its_pure_modes(kind):
    model = make(kind)
    context, state = model.encode(SOURCE, LENGTHS)
    step, key = partial(model.step, context), jax.random.key(5)

    @partial(jax.jit, static_argnames="sample")
    def mixed(key, p, sample=False):
        return mix_tokens(step, state, TOKENS, key, probability=p, sample=sample)

    assert np.array_equal(mixed(key, 1.0), TOKENS)  # and so all that follows is teacher forcing
    one_step = jax.jit(step)
    own, free = TOKENS[:, :1], state
    for t in range(T - 1):
        free, logits = one_step(free, own[:, t])
        own = jnp.concatenate([own, logits.argmax(-1)[:, None]], 1)
    assert np.array_equal(mixed(key, 0.0), own)
    keys = jax.random.split(key, 200)
    drawn = jax.vmap(lambda key: mixed(key, 0.3, sample=True))(keys)
    assert len({row.tobytes() for row in np.asarray(drawn)}) > 100
    shares = np.asarray(drawn[:, :, 1:] == TOKENS[:, 1:]).mean(0)
    assert shares.min() > 0.2  # a coin for each token of each row: none of them is never true
    assert 0.3 < shares.mean() < 0.65  # (the network's own token may be the true one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bridge": "none"}, "bridge must be one of copy, dense, context"),
        (
            {"bridge": "context", "attention": "dot"},
            "bridge='context' gives every step one summary",
        ),
        ({"bridge": "copy", "bidirectional": True}, "bridge='copy' needs an encoder of one"),
        (
            {"attention": "dot", "bidirectional": True},
            "attention='dot' compares vectors of one size",
        ),
        ({"attention": "mean"}, "attention must be one of"),
        ({"embedding_size": 0}, "embedding_size must"),
    ],
)
def test_what_it_refuses(options, message):
    with pytest.raises(InputError, match=message):
        make("cho", **{"bridge": "dense"} | options)


def test_states_that_differ_cannot_be_copied():
    with pytest.raises(InputError, match="a decoder with the same cells"):
        EncoderDecoder(9, 8, [lstm(4)], [gru(4)], embedding_size=3, bridge="copy", rngs=nnx.Rngs(0))


def test_attention_begins_with_the_encoders_output():
    """... so that the query and that output must be of one size, which cells of two sizes are not."""
    cells = [gru(4), gru(3)]
    how = {"embedding_size": 3, "bridge": "copy", "rngs": nnx.Rngs(0)}
    with pytest.raises(
        InputError, match=r"begins with the encoder's output, of 3, in place .* of 4"
    ):
        EncoderDecoder(9, 8, cells, cells, attention="general", **how)
    with pytest.raises(InputError, match="a decoder with the same cells"):
        EncoderDecoder(9, 8, [rnn(4)], [gru(4)], **how)


@pytest.mark.parametrize("connections", ["residual", "dense", "highway"])
def test_the_decoders_second_layer_is_connected(connections):
    how = {"embedding_size": 4, "summary_size": 3, "rngs": nnx.Rngs(0)}
    decoder = Decoder(5, [gru(8)] * 2, connections=connections, **how)
    context, summary = decoder.context(jnp.ones((B, 3))), jnp.ones((B, 3))
    state = decoder.first_state(context, summary)
    found = decoder(context, state, TOKENS % 5)[1]
    assert decoder.upper.above
    decoder.upper.connections = "plain"
    if connections != "dense":
        assert not np.allclose(found, decoder(context, state, TOKENS % 5)[1])
    else:
        assert decoder.upper.output_size == 16
    if connections == "residual":
        with pytest.raises(InputError, match="layers of one output size, got 8 below 6"):
            Decoder(5, [gru(8), gru(6)], connections=connections, **how)


@pytest.mark.parametrize("name", ["mamba", "mlstm", "gla", "lru", "lstm"])
def test_a_summary_becomes_a_state_of_any_shape(name):
    """Every real number of every leaf follows from the summary of its own row."""
    decoder = Decoder(5, [CELLS[name](8)], embedding_size=4, summary_size=3, rngs=nnx.Rngs(0))
    summary = jax.random.normal(jax.random.key(0), (B, 3))
    context = decoder.context(summary)
    state = decoder.first_state(context, summary)
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), decoder.initial_state(B))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == shapes
    alone = decoder.first_state(context, summary[:1])
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[:1], b, rtol=1e-6)
        if jnp.issubdtype(a.dtype, jnp.inexact):
            assert np.all(np.asarray(jnp.real(a)) != 0)
        if jnp.issubdtype(a.dtype, jnp.complexfloating):
            assert np.all(np.asarray(jnp.imag(a)) != 0)
    assert decoder(context, state, TOKENS % 5)[1].shape == (B, T, 5)


@pytest.mark.parametrize("place", [0, 1])
def test_the_noise_of_its_cells_is_drawn_in_every_layer(place):
    cells = [gru(8), gru(8)]
    cells[place] = variational_dropout(cells[place], inputs=0.5, states=0.5)
    decoder = Decoder(5, cells, embedding_size=4, summary_size=3, rngs=nnx.Rngs(0))
    context = decoder.context(jnp.ones((B, 3)))
    state = decoder.first_state(context, jnp.ones((B, 3)))
    calm = decoder(context, state, TOKENS % 5)[1]
    noisy, again = (
        decoder(context, state, TOKENS % 5, dropout_key=jax.random.key(0))[1] for _ in range(2)
    )
    np.testing.assert_array_equal(noisy, again)
    assert not np.allclose(noisy, calm)


def test_a_rate_out_of_range_is_refused():
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="dropout must lie in"):
            Decoder(5, [gru(4)], embedding_size=4, summary_size=3, dropout=rate, rngs=nnx.Rngs(0))


def test_the_summary_is_the_last_output_of_each_direction_also_of_dense_layers():
    model = make("bahdanau", layers=1, connections="dense")
    _, ys = model.encoder(model.source_embedding(SOURCE), lengths=LENGTHS)
    expected = []
    for row, length in enumerate(LENGTHS):
        last, first = ys[row, length - 1], ys[row, 0]
        expected.append(
            np.concatenate([last[:5], last[5:11], first[11:]])
        )  # [x, forward, backward]
    seen = []
    model.decoder.first_state = lambda context, summary: seen.append(summary)
    model.encode(SOURCE, LENGTHS)
    np.testing.assert_allclose(seen[0], expected, rtol=1e-5)
