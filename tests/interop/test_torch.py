"""Weights of torch, in and out: the same outputs, and the same weights after both ways."""

import jax
import numpy as np
import pytest

from seqjax import CELLS, InputError, bidirectional, stack, unroll
from seqjax.interop import Layers, from_torch, to_torch
from tests.support.randomness import randomise

torch = pytest.importorskip("torch")

T, B, D, H = 6, 3, 4, 5


def module_of(kind, layers=1, directions=1, **options):
    module = getattr(torch.nn, kind)(
        D, H, num_layers=layers, bidirectional=directions == 2, **options
    )
    with torch.no_grad():  # no bias stays at what it starts with
        for number, p in enumerate(module.parameters()):
            p.copy_(torch.tensor(randomise(p.numpy(), number)))
    return module


def run_layers(layers, xs, lengths, states):
    """The layers by seqjax: outputs of the last, and final states of all layers and directions."""
    (cell, *_), finals = layers.make_cells(), []
    for number, params in enumerate(layers.params):
        start = states[number * layers.directions : (number + 1) * layers.directions]
        if layers.directions == 1:
            final, xs = unroll(cell, params[0], xs, start[0], lengths=lengths)
            finals.append(final)
        else:
            final, xs = bidirectional((cell, cell), params, xs, tuple(start), lengths=lengths)
            finals += final
    return finals, xs


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_layers_equal_torchs(kind, layers, directions):
    module = module_of(kind, layers, directions)
    found = from_torch(module.state_dict())
    assert (found.cell, len(found.params), found.directions) == (kind.lower(), layers, directions)
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(T, B, D)).astype(np.float32)
    lengths = np.array([6, 2, 5])
    cell = CELLS[found.cell](H)
    states = [randomise(cell.initial_state((B,)), k) for k in range(layers * directions)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(xs), torch.tensor(lengths), enforce_sorted=False
    )
    parts = tuple(
        torch.tensor(np.stack([getattr(s, part) for s in states]))
        for part in cell.initial_state(())._fields
    )
    with torch.no_grad():
        packed_ys, finals = module(packed, parts if kind == "LSTM" else parts[0])
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_ys)
    ours, ys = run_layers(found, xs, lengths, states)
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)
    finals = finals if kind == "LSTM" else (finals,)
    for part, theirs in zip(cell.initial_state(())._fields, finals, strict=True):
        np.testing.assert_allclose(
            np.stack([getattr(f, part) for f in ours]), theirs, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_out_and_in_again_nothing_has_changed(name):
    cell = CELLS[name](H)
    sizes = [D, 2 * H]
    params = tuple(
        tuple(randomise(cell.init(jax.random.key(k), size), k) for k in (2 * n, 2 * n + 1))
        for n, size in enumerate(sizes)
    )
    back = from_torch(to_torch(Layers(name, params), "encoder."), "encoder.")
    assert back.cell == name
    for a, b in zip(jax.tree.leaves(back.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stack_takes_layers_of_one_direction():
    module = module_of("LSTM", 2)
    found = from_torch(module.state_dict())
    cell = stack(*found.make_cells())
    xs = np.ones((T, B, D), np.float32)
    _, ys = unroll(cell, found.of_stack(), xs)
    with torch.no_grad():
        expected, _ = module(torch.tensor(xs))
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="run in both directions"):
        from_torch(module_of("GRU", 1, 2).state_dict()).of_stack()


def test_layers_without_biases_and_of_relu():
    found = from_torch(
        module_of("RNN", nonlinearity="relu", bias=False).state_dict(), nonlinearity="relu"
    )
    assert found.cell == "rnn_relu"
    assert not np.any(found.params[0][0]["b"])


def test_what_cannot_be_represented_is_refused_by_name():
    with pytest.raises(InputError, match="weight_hr_l0 is a projection"):
        from_torch(module_of("LSTM", proj_size=3).state_dict())
    weights = to_torch(from_torch(module_of("LSTM").state_dict()))
    with pytest.raises(InputError, match=r"bias_ih_l0 must have the shape \(20,\), got \(19,\)"):
        from_torch({**weights, "bias_ih_l0": weights["bias_ih_l0"][:-1]})
    with pytest.raises(InputError, match=r"there is no weight_hh_l0 after 'encoder\.'"):
        from_torch(weights, "encoder.")
    with pytest.raises(InputError, match="there is no bias_hh_l0"):
        from_torch({k: v for k, v in weights.items() if k != "bias_hh_l0"})
    params = CELLS["mgu"](H).init(jax.random.key(0), D)
    with pytest.raises(InputError, match="torch has no mgu"):
        to_torch(Layers("mgu", ((params,),)))
    params = CELLS["lstm"](H).init(jax.random.key(0), D)
    with pytest.raises(InputError, match=r"b of layer 0 must have the shape \(20,\)"):
        to_torch(Layers("lstm", (({**params, "b": params["b"][:4]},),)))


def test_arrays_that_the_cell_has_not_are_refused():
    """... not dropped: the gains of a layer norm, peepholes."""
    for name, params in (("lstm", "lstm_layer_norm"), ("lstm", "lstm_peephole")):
        layers = Layers(name, ((CELLS[params](3).init(jax.random.key(0), 2),),))
        with pytest.raises(InputError, match="which lstm has not: it is another cell"):
            to_torch(layers)
    first, second = (CELLS["lstm"](n).init(jax.random.key(0), d) for n, d in ((3, 2), (5, 3)))
    with pytest.raises(InputError, match="layer 1 must have 1 directions of 3 units"):
        to_torch(Layers("lstm", ((first,), (second,))))
