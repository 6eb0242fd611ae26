"""ONNX graphs that ONNX Runtime runs, equal to seqjax; read back; and graphs that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import CELLS, InputError
from seqjax.interop import (
    Layers,
    classifier_to_onnx,
    from_onnx,
    language_model_to_onnx,
    to_onnx,
)
from seqjax.interop.onnx import OPERATORS
from seqjax.models import LanguageModel, SequenceClassifier
from seqjax.training.modules import split_model
from tests.interop.test_torch import run_layers
from tests.support.randomness import randomise

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

T, B, D, H = 6, 3, 4, 5


def made(name, num_layers=1, directions=1):
    cell = CELLS[name](H)
    sizes = [D, *[H * directions] * (num_layers - 1)]
    return Layers(
        name,
        tuple(
            tuple(
                randomise(cell.init(jax.random.key(k), size), 10 * n + k) for k in range(directions)
            )
            for n, size in enumerate(sizes)
        ),
    )


def session_of(model):
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


SHAPES = [("lstm", 2, 2), ("gru", 3, 1), ("rnn_relu", 1, 2)]
MORE = [(name, 2, 2) for name in OPERATORS if name not in ("lstm",)]


@pytest.mark.parametrize(
    ("name", "num_layers", "directions"),
    [*SHAPES, *(pytest.param(*m, marks=pytest.mark.long) for m in MORE)],
)
def test_a_graph_equals_the_layers_and_is_read_back(name, num_layers, directions):
    layers = made(name, num_layers, directions)
    model = to_onnx(layers, lengths=True, states=True)
    rng = np.random.default_rng(1)
    xs, lengths = rng.normal(size=(T, B, D)).astype(np.float32), np.array([6, 2, 5], np.int32)
    cell = CELLS[name](H)
    states = [randomise(cell.initial_state((B,)), k) for k in range(num_layers * directions)]
    parts = cell.initial_state(())._fields
    feeds = {f"initial_{p}": np.stack([getattr(s, p) for s in states]) for p in parts}
    found = session_of(model).run(None, {"x": xs, "lengths": lengths, **feeds})
    finals, ys = run_layers(layers, xs, lengths, states)
    np.testing.assert_allclose(ys, found[0], rtol=1e-5, atol=2e-6)
    for part, theirs in zip(parts, found[1:], strict=True):
        ours = np.stack([getattr(f, part) for f in finals])
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)
    back = from_onnx(model)
    assert len(back) == num_layers
    for layer, params in zip(back.values(), layers.params, strict=True):
        assert layer.cell == name
        for a, b in zip(layer.params[0], params, strict=True):
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_allclose(a[key], b[key], rtol=1e-6, atol=1e-7)


def test_without_lengths_and_states():
    layers = made("gru")
    xs = np.random.default_rng(1).normal(size=(9, 1, D)).astype(np.float32)  # T and B are symbols
    found = session_of(to_onnx(layers)).run(["y"], {"x": xs})[0]
    states = [CELLS["gru"](H).initial_state((1,))]
    _, ys = run_layers(layers, xs, None, states)
    np.testing.assert_allclose(ys, found, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "tied"), [("lstm", False), ("gru", True)])
def test_a_language_model_speaks_the_same(name, tied):
    cells = [CELLS[name](H)] * 2
    model = LanguageModel(11, cells, embedding_size=H, tie_weights=tied, rngs=nnx.Rngs(0))
    graphdef, params, *_ = split_model(model)
    model = nnx.merge(graphdef, randomise(params, 3))
    graph = language_model_to_onnx(model, name)
    tokens = np.random.default_rng(0).integers(0, 11, (100, B))
    states = model.initial_state(B)
    feeds = {f"initial_{p}": np.stack([getattr(s, p) for s in states]) for p in states[0]._fields}
    found = session_of(graph).run(["logits"], {"tokens": tokens, **feeds})[0]
    _, expected = model(jnp.asarray(tokens.T))
    np.testing.assert_allclose(found.swapaxes(0, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "name", "directions", "num_layers"),
    [
        ("last", "lstm", 2, 2),
        ("max", "gru", 1, 1),
        pytest.param("mean", "lstm", 1, 2, marks=pytest.mark.long),
        pytest.param("mean", "gru_reset_before", 2, 1, marks=pytest.mark.long),
        pytest.param("max", "rnn", 2, 2, marks=pytest.mark.long),
        pytest.param("last", "lstm_peephole", 1, 1, marks=pytest.mark.long),
    ],
)
def test_a_classifier_as_a_graph(pooling, name, directions, num_layers):
    """... over lengths, 0 among them; what stands in the padding counts for nothing."""
    cells = [CELLS[name](H)] * num_layers
    model = SequenceClassifier(
        11,
        3,
        cells,
        embedding_size=D,
        pooling=pooling,
        bidirectional=directions == 2,
        rngs=nnx.Rngs(0),
    )
    graphdef, params, *_ = split_model(model)
    model = nnx.merge(graphdef, randomise(params, 5))
    session = session_of(classifier_to_onnx(model, name))
    for steps, lengths in ((7, [7, 3, 0, 1]), (1, [1, 0]), (30, [30])):
        tokens = np.random.default_rng(steps).integers(0, 11, (steps, len(lengths)))
        lengths = np.array(lengths, np.int32)
        found = session.run(None, {"tokens": tokens, "lengths": lengths})[0]
        expected = model(jnp.asarray(tokens.T), jnp.asarray(lengths))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        other = np.where(np.arange(steps)[:, None] < lengths, tokens, 5)
        again = session.run(None, {"tokens": other, "lengths": lengths})[0]
        np.testing.assert_allclose(again, found, atol=1e-6)


def test_classifiers_that_no_graph_is():
    how = {"embedding_size": H, "rngs": nnx.Rngs(0)}
    model = SequenceClassifier(11, 3, [CELLS["mgu"](H)], **how)
    with pytest.raises(InputError, match="ONNX has no mgu"):
        classifier_to_onnx(model, "mgu")
    model = SequenceClassifier(11, 3, [CELLS["lstm"](H)] * 2, connections="residual", **how)
    with pytest.raises(InputError, match="only plain layers can be written"):
        classifier_to_onnx(model, "lstm")


def node(operator="LSTM", **attributes):
    layers = made({"LSTM": "lstm", "RNN": "rnn"}[operator])
    model = to_onnx(layers)
    (found,) = [n for n in model.graph.node if n.op_type == operator]
    for key, value in attributes.items():
        kept = [a for a in found.attribute if a.name != key]
        del found.attribute[:]
        found.attribute.extend([*kept, onnx.helper.make_attribute(key, value)])
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: node(clip=3.0), "has clip=3.0, which seqjax has not"),
        (lambda: node(direction="reverse"), "runs backward only"),
        (lambda: node(activations=["Relu", "Tanh", "Tanh"]), "which no cell of seqjax has"),
        (lambda: node(direction="sideways"), "has direction='sideways', which ONNX has not"),
        (lambda: node(direction="bidirectional"), "must begin with 2"),
        (lambda: node(direction=3), "cannot be read"),
        (lambda: node(activations=[1, 2]), "cannot be read"),
        (lambda: node(input_forget=1), "couples its gates without peepholes"),
        (lambda: node("RNN", activations=["Softplus"]), "which no cell of seqjax has"),
    ],
)
def test_nodes_that_no_cell_is_are_refused(model, message):
    with pytest.raises(InputError, match=message):
        from_onnx(model())


def test_files_of_strangers_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        from_onnx(path)
    model = to_onnx(made("lstm"))
    onnx.save(model, path)
    assert from_onnx(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(
        InputError, match=r"cannot be read as ONNX|no LSTM, GRU or RNN node|no constants"
    ):
        from_onnx(path)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="is kept in another file"):
        from_onnx(path)
    with pytest.raises(InputError, match="ONNX has no mgu"):
        to_onnx(made("mgu"))
    with pytest.raises(InputError, match="no LSTM, GRU or RNN node"):
        from_onnx(onnx.ModelProto())


def test_whatever_bytes_are_changed_the_layers_or_one_sentence_come_back(tmp_path):
    data = to_onnx(made("lstm_peephole")).SerializeToString()
    rng, path = np.random.default_rng(0), tmp_path / "model.onnx"
    refused = 0
    for _ in range(150):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            from_onnx(path)
        except InputError:  # anything else fails the test
            refused += 1
    assert 0 < refused < 150
