"""Checkpoints: what comes back, bit for bit, and what is said when it cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.cells import LSTMState
from seqjax.errors import InputError, RunError
from seqjax.runs.checkpoint import Checkpoints
from seqjax.training.step import init_train_state

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))


def make_state(step=0, size=3, seed=0):
    """A train state as the experiments have it, with a random number in every leaf."""
    rng = np.random.default_rng([seed, step])
    params = {"layers": [{"w": jnp.zeros((size, 4)), "b": jnp.zeros(4)}]}
    carry = (LSTMState(jnp.zeros((2, size)), jnp.zeros((2, size))),)
    state = init_train_state(params, OPTIMIZER, carry)

    def fill(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.asarray(rng.integers(1000, size=leaf.shape), leaf.dtype)
        return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(fill, state)._replace(step=jnp.int32(step))


def assert_same(actual, desired):
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_the_newest_comes_back_bit_for_bit(tmp_path):
    record = {"config": {"name": "漢", "rate": 0.1, "flag": True}, "vocabulary": ["<unk>", "\n"]}
    checkpoints = Checkpoints(tmp_path / "deep" / "last")
    assert not checkpoints.exists()
    assert not (tmp_path / "deep").exists()
    for step in (3, 7):
        state = make_state(step)
        state.params["layers"][0]["b"] = jnp.array([jnp.nan, jnp.inf, -0.0, 1e-40])
        checkpoints.save(state, record | {"step": step})
        assert checkpoints.exists()
    for reader in (checkpoints, Checkpoints(tmp_path / "deep" / "last")):
        assert_same(reader.restore(make_state(seed=1)), state)
        assert reader.read_record() == record | {"step": 7}
        reader.close()
    names = sorted(p.name for p in (tmp_path / "deep" / "last").iterdir())
    assert names == ["3", "3.sha256", "7", "7.sha256"]


def test_a_step_may_be_saved_again_at_once(tmp_path):
    """As by Ctrl-C just after a save, while that is still being written."""
    for attempt in range(5):
        checkpoints = Checkpoints(tmp_path / f"last{attempt}")
        checkpoints.save(make_state(3), {"best": 2.0})
        checkpoints.save(make_state(5), {"best": 1.0})
        checkpoints.save(make_state(5), {"best": 1.0})
        assert_same(checkpoints.restore(make_state()), make_state(5))
        assert checkpoints.read_record() == {"best": 1.0}
        checkpoints.close()


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_no_checkpoint_is_said_in_a_sentence(tmp_path, kind):
    path = tmp_path / "last"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("x")
    checkpoints = Checkpoints(path)
    assert not checkpoints.exists()
    for read in (checkpoints.read_record, lambda: checkpoints.restore(make_state())):
        with pytest.raises(InputError, match=rf"^no checkpoint in {path}\.$"):
            read()
    checkpoints.close()
    assert list(tmp_path.rglob("*")) == ([] if kind == "missing" else [path])


@pytest.mark.parametrize("kind", ["shape", "structure"])
def test_another_model_is_refused_in_a_sentence(tmp_path, kind):
    checkpoints = Checkpoints(tmp_path / "last")
    checkpoints.save(make_state(2), {})
    like = make_state(size=5) if kind == "shape" else make_state()
    if kind == "structure":
        like.params["layers"].append({"w": jnp.zeros(3)})
    with pytest.raises((InputError, RunError), match=str(tmp_path)) as caught:
        checkpoints.restore(like)
    checkpoints.close()
    assert "\n" not in str(caught.value)
    if kind == "shape":
        assert "3" in str(caught.value).split(str(tmp_path))[1]
        assert "5" in str(caught.value).split(str(tmp_path))[1]
    assert str(caught.value).endswith(".")


def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path):
    checkpoints = Checkpoints(tmp_path / "last")
    checkpoints.save(make_state(2), {"a": 1})
    checkpoints.close()
    for path in (tmp_path / "last" / "2").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises((InputError, RunError), match=str(tmp_path)) as caught:
        checkpoints.restore(make_state())
    assert "\n" not in str(caught.value)
    with pytest.raises((InputError, RunError), match=str(tmp_path)):
        checkpoints.read_record()
    checkpoints.close()
