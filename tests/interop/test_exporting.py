"""Exported steps and sequences run where seqjax is not, for any batch, and lower for a GPU and a TPU."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from seqjax import CELLS, lstm, unroll
from seqjax.interop import (
    export_sequence,
    export_step,
    export_token_step,
    first_leaves,
    register_states,
)
from seqjax.models import LanguageModel
from tests.support.randomness import problem
from tests.support.tiers import some_cells

D, H = 4, 5


@pytest.mark.parametrize("name", some_cells())
def test_a_step_and_a_sequence_are_those_of_the_cell(name):
    cell = CELLS[name](H)
    params, state, xs = problem(cell, steps=7)
    leaves = tuple(map(jnp.asarray, jax.tree.leaves(state)))
    data = export_sequence(cell, params, D)
    final, ys = export.deserialize(bytearray(data)).call(leaves, xs)
    expected = unroll(cell, params, xs, state)
    for a, b in zip((*final, ys), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    run = export.deserialize(bytearray(export_step(cell, params, D)))
    assert {*run.platforms} == {"cpu", "cuda", "tpu"}
    step = jax.jit(cell.step)
    for batch in (1, 3):
        part = tuple(leaf[:batch] for leaf in leaves)
        own = jax.tree.map(lambda s, batch=batch: s[:batch], state)
        for x in xs[:, :batch]:
            part, y = run.call(part, x)
            own, other = step(params, own, x)
            np.testing.assert_allclose(y, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", some_cells())
def test_gradients_lower_for_a_gpu_and_a_tpu(name):
    """Nothing is run: there is neither here."""
    cell = CELLS[name](H)
    params, state, xs = problem(cell, steps=7)

    def loss(params, xs):
        return jnp.sum(unroll(cell, params, xs, state)[1] ** 2)

    exported = export.export(jax.jit(jax.grad(loss)), platforms=("cpu", "cuda", "tpu"))
    assert exported(params, jnp.asarray(xs)).platforms == ("cpu", "cuda", "tpu")


STRANGER = """
import sys
sys.modules["seqjax"] = None  # importing it fails
import jax, jax.numpy as jnp, numpy as np
run = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
for batch in (1, 3, 64):
    leaves = tuple(jnp.zeros((batch, *a.shape[1:]), a.dtype) for a in run.in_avals[:-1])
    tokens, said = np.load(sys.argv[2])["tokens"], np.load(sys.argv[2])["logits"]
    for t in range(len(tokens)):
        leaves, logits = run.call(leaves, jnp.full(batch, tokens[t], jnp.int32))
        assert np.abs(logits - said[t]).max() < 1e-6
"""


def test_a_language_model_runs_where_seqjax_cannot_be_imported(tmp_path):
    model = LanguageModel(9, [lstm(H)] * 2, embedding_size=H, rngs=nnx.Rngs(0))
    data = export_token_step(model)
    assert len(first_leaves(data, 3)) == 4
    tokens = np.random.default_rng(0).integers(0, 9, 20).astype(np.int32)
    state, logits = model.initial_state(1), []
    step = jax.jit(lambda token, state: model.step(token, state))
    for token in tokens:
        state, of_step = step(jnp.full(1, token), state)
        logits.append(np.asarray(of_step[0]))
    (tmp_path / "model.bin").write_bytes(data)
    np.savez(tmp_path / "said.npz", tokens=tokens, logits=logits)
    command = [sys.executable, "-c", STRANGER, tmp_path / "model.bin", tmp_path / "said.npz"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_states_of_cells_may_stand_in_exported_signatures():
    register_states()
    register_states()  # twice is no error
    cell = lstm(H)
    params, state, xs = problem(cell)
    exported = export.export(jax.jit(lambda s, x: cell.step(params, s, x)))(
        state, jnp.asarray(xs[0])
    )
    new, _ = export.deserialize(exported.serialize()).call(state, jnp.asarray(xs[0]))
    assert type(new) is type(state)
