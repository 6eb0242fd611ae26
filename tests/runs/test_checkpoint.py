"""Checkpoints: what comes back, bit for bit, and what is said when it cannot."""

import hashlib
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
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


def test_another_state_of_the_same_step_takes_its_place(tmp_path):
    """As of averaged weights, or after `roll_back`."""
    checkpoints = Checkpoints(tmp_path / "last")
    for seed in (0, 1):
        checkpoints.save(make_state(5, seed=seed), {"seed": seed})
    assert_same(checkpoints.restore(make_state()), make_state(5, seed=1))
    assert checkpoints.steps() == [5]
    checkpoints.close()


def test_random_keys_and_python_numbers_come_back(tmp_path):
    checkpoints = Checkpoints(tmp_path / "last")
    carry = (jax.random.split(jax.random.key(3), 2), np.float32(0.5), 0.25)
    state = make_state(2)._replace(carry=carry)
    checkpoints.save(state, {})
    for like in (state, jax.eval_shape(lambda: state)):
        keys, *numbers = checkpoints.restore(like).carry
        assert numbers == [0.5, 0.25]
        np.testing.assert_array_equal(jax.random.uniform(keys[1]), jax.random.uniform(carry[0][1]))
    checkpoints.close()


def test_two_arrays_of_one_name_are_refused(tmp_path):
    params = {"a.b": jnp.ones(3), "a": {"b": jnp.zeros(3)}}
    with pytest.raises(InputError, match=r"both called params\.a\.b: rename"):
        Checkpoints(tmp_path / "last").save(make_state(2)._replace(params=params), {})
    assert not list(tmp_path.iterdir())


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


def save_as_before_0_2(directory, state, record):
    """One item held the whole state, its parameters included."""
    arguments = ocp.args.Composite(
        state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
    )
    handlers = {"state": ocp.StandardCheckpointHandler(), "record": ocp.JsonCheckpointHandler()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers)) as orbax:
        orbax.save(directory / str(int(state.step)), args=arguments)
    files = sorted(p for p in (directory / str(int(state.step))).rglob("*") if p.is_file())
    sums = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(directory).as_posix()}\n"
        for p in files
    ]
    (directory / f"{int(state.step)}.sha256").write_text("".join(sums))


@pytest.mark.parametrize("save", ["now", "before 0.2"])
def test_parameters_come_back_alone(tmp_path, save):
    state, record = make_state(4), {"config": {}}
    directory = tmp_path / "last"
    if save == "now":
        Checkpoints(directory).save(state, record)
    else:
        save_as_before_0_2(directory, state, record)
    checkpoints = Checkpoints(directory)
    assert_same(checkpoints.restore(make_state(seed=1)), state)
    assert_same(checkpoints.restore_params(make_state(seed=1).params), state.params)
    with pytest.raises(RunError, match=r"of another model: params.layers.0.b has shape"):
        checkpoints.restore_params({"layers": [{"w": jnp.zeros((3, 4)), "b": jnp.zeros(5)}]})
    checkpoints.close()


# ---------------------------------------------------------------- what is not there, and what is more


def save_steps(directory, *steps):
    checkpoints = Checkpoints(directory)
    for step in steps:
        checkpoints.save(make_state(step), {"step": step})
    checkpoints.close()
    return checkpoints


def tree(directory):
    return {
        path.relative_to(directory): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


def newest(directory):
    checkpoints = Checkpoints(directory)
    state = checkpoints.restore(make_state())
    assert_same(state, make_state(int(state.step)))
    assert checkpoints.read_record() == {"step": int(state.step)}
    checkpoints.close()
    return int(state.step)


MISSING = {"lists": "*.sha256", "folders": "[0-9]", "files": "*/params/_METADATA"}


@pytest.mark.parametrize("what", MISSING)
def test_where_something_is_missing_nothing_is_begun_anew(what, tmp_path, capsys):
    last = tmp_path / "last"
    save_steps(last, 3, 5, 7)
    for path in last.glob(MISSING[what]):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = tree(last)
    checkpoints = Checkpoints(last)
    name = {"lists": "list of sums, 7.sha256,", "folders": "folder", "files": "7/params/_METADATA"}
    for call in (checkpoints.exists, checkpoints.read_record):
        with pytest.raises(
            RunError, match=rf"every checkpoint in .*step 7: .*{name[what]} is missing"
        ):
            call()
    checkpoints.drop_after(0)
    assert tree(last) == before


@pytest.mark.parametrize("what", MISSING)
def test_the_one_before_is_used_and_what_is_damaged_is_kept(what, tmp_path, capsys):
    last = tmp_path / "last"
    save_steps(last, 3, 5, 7)
    for path in last.glob(MISSING[what]):
        if "7" in path.relative_to(last).parts[0]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    remains = {path: data for path, data in tree(last).items() if path.parts[0].startswith("7")}
    assert newest(last) == 5
    assert "step 7 in" in capsys.readouterr().err
    save_steps(last, 6)
    assert {k: v for k, v in tree(last).items() if k.parts[0].startswith("7")} == remains
    save_steps(last, 7)
    assert newest(last) == 7
    (aside,) = last.glob("7.damaged-*")
    assert tree(aside) == remains


class Killed(BaseException):
    """No `except Exception` stops it."""


@pytest.mark.long
def test_a_save_that_was_cut_off_at_any_moment_loses_nothing(tmp_path, monkeypatch, capsys):
    """As by SIGKILL: at each call that changes a name, at the first save and at later ones."""
    calls, limit, orbax = 0, 0, False

    def deadly(function, half):
        def call(path, *args, **options):
            nonlocal calls, orbax
            if orbax:
                return function(path, *args, **options)
            calls += 1
            if calls > limit:
                half(path, *args)
                raise Killed
            orbax = function is save
            try:
                return function(path, *args, **options)
            finally:
                orbax = False

        return call

    def half_saved(checkpointer, path, *_):
        path = path.with_name(f"{path.name}.orbax-checkpoint-tmp")
        path.mkdir(parents=True)
        (path / "half").write_text("")

    def half_removed(path, *_):
        next(p for p in sorted(path.rglob("*")) if p.is_file()).unlink(missing_ok=True)

    save = ocp.Checkpointer.save
    with monkeypatch.context() as patch:
        patch.setattr(ocp.Checkpointer, "save", deadly(save, half_saved))
        patch.setattr(shutil, "rmtree", deadly(shutil.rmtree, half_removed))
        for owner, name in ((Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (os, "replace")):
            patch.setattr(owner, name, deadly(getattr(owner, name), lambda *_: None))
        for before in ((), (2, 4, 6)):
            for stage in range(100):
                last = tmp_path / f"{len(before)}-{stage}" / "last"
                limit = 10**9
                save_steps(last, *before)
                checkpoints = Checkpoints(last)
                calls, limit = 0, stage
                try:
                    checkpoints.save(make_state(7), {"step": 7})
                    finished = True
                except Killed:
                    finished = False
                limit = 10**9
                checkpoints.close()
                if Checkpoints(last).exists():
                    assert newest(last) in ((7,) if finished else (*before[-1:], 7))
                else:
                    assert not before
                    assert not finished
                save_steps(last, 7)
                assert newest(last) == 7
                assert capsys.readouterr().err == ""
                save_steps(last, 8)  # clears up
                names = ["4", "6", "7", "8"][1 if before else 2 :]
                assert sorted(
                    path.name for path in last.iterdir() if path.suffix != ".partial"
                ) == [name for step in names for name in (step, f"{step}.sha256")]
                if finished:
                    break
            assert stage > 3


def test_what_orbax_did_not_write_is_never_removed(tmp_path):
    last = tmp_path / "last"
    save_steps(last, 3, 7)
    mine = ["9.mine", "notes", "9x", "08", "7.backup", "-3", "9.unfinished.mine", "\u0663"]
    for name in mine:
        (last / name).mkdir()
        (last / name / "precious").write_text("kept")
    (last / "9.sha256.txt").write_text("kept")
    checkpoints = Checkpoints(last)
    checkpoints.drop_after(4)
    assert checkpoints.steps() == [3]
    for step in (5, 6, 8, 9):
        checkpoints.save(make_state(step), {"step": step})
    checkpoints.close()
    assert newest(last) == 9
    assert {path.parent.name for path in last.glob("*/precious")} == set(mine)
    assert (last / "9.sha256.txt").read_text() == "kept"


def test_orbax_own_traces_are_removed(tmp_path):
    last = tmp_path / "last"
    save_steps(last, 3)
    for name in ("5.orbax-checkpoint-tmp", "5.orbax-checkpoint-tmp-17", "5.unfinished"):
        (last / name).mkdir()
        (last / name / "half").write_text("")
    (tmp_path / "precious").mkdir()
    (last / "6.unfinished").symlink_to(tmp_path / "precious")
    save_steps(last, 4)
    assert sorted(path.name for path in last.iterdir()) == [
        *("3", "3.sha256", "4", "4.sha256", "6.unfinished")
    ]


def test_files_that_the_list_never_named_are_no_damage(tmp_path, capsys):
    last = tmp_path / "last"
    save_steps(last, 3)
    for folder in [last, *(path for path in last.rglob("*") if path.is_dir())]:
        (folder / ".DS_Store").write_bytes(b"\0\1")
        (folder / "Thumbs.db").write_bytes(b"\0\1")
    assert newest(last) == 3
    assert capsys.readouterr().err == ""


def test_a_list_that_names_files_of_others_is_damage(tmp_path):
    last = tmp_path / "last"
    save_steps(last, 3)
    (tmp_path / "other").write_text("")
    with (last / "3.sha256").open("a") as file:
        file.write(f"{hashlib.sha256(b'').hexdigest()}  3/../../other\n")
    with pytest.raises(RunError, match="names files of others"):
        Checkpoints(last).read_record()


def test_a_pipe_in_a_checkpoint_is_not_waited_for(tmp_path):
    last = tmp_path / "last"
    save_steps(last, 3)
    (last / "3" / "state" / "_METADATA").unlink()
    os.mkfifo(last / "3" / "state" / "_METADATA")
    with pytest.raises(RunError, match="_METADATA is no file"):
        Checkpoints(last).read_record()


@pytest.mark.parametrize("saves", [0, 1])
@pytest.mark.parametrize("how", ["removed", "moved", "made anew"])
def test_the_next_save_of_a_run_that_was_removed_fails(how, saves, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    checkpoints = Checkpoints(workdir / "checkpoints" / "last")
    for step in range(saves):
        checkpoints.save(make_state(step), {})
    workdir.rename(tmp_path / "elsewhere") if how == "moved" else shutil.rmtree(workdir)
    if how == "made anew":
        workdir.mkdir()
    with pytest.raises(
        RunError, match=r"cannot save step 4 in .*run was removed, moved or replaced"
    ):
        checkpoints.save(make_state(4), {})
    assert list(tmp_path.glob("run/*")) == []


def test_checkpoints_that_are_a_link_are_not_written_into(tmp_path):
    save_steps(tmp_path / "other" / "best", 3, 5)
    before = tree(tmp_path / "other")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best").symlink_to(tmp_path / "other" / "best")
    with pytest.raises(RunError, match=r"cannot save step 4 in .*: it is a link"):
        Checkpoints(tmp_path / "run" / "best").save(make_state(4), {})
    assert tree(tmp_path / "other") == before


def test_checkpoints_of_earlier_versions_are_read_and_gone_on_with(tmp_path):
    """They were written under their own names, the lists with sums of the same files."""
    last = tmp_path / "last"
    for step in (3, 7):
        save_as_before_0_2(last, make_state(step), {"step": step})
    assert newest(last) == 7
    save_steps(last, 9)
    assert Checkpoints(last).steps() == [3, 7, 9]
