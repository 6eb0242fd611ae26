"""Several processes train one network: the numbers of one process, and the faults of several."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest

from experiments import launch
from seqjax import InputError
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.shared_checkpoints import SharedCheckpoints
from seqjax.training.step import init_train_state

pytestmark = pytest.mark.whole

STEPS = 30
FLAGS = [
    *("experiments.char_lm", f"--steps={STEPS}", "--hidden_size=8", "--batch_size=8"),
    *("--seq_len=10", "--eval_every=10", "--save_every=10", "--ngram_order=0"),
    *("--sample_every=0", "--save_seconds=0"),
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    rng = np.random.default_rng(0)
    path.write_text("".join(rng.choice(list("abc de\n"), 20_000)))
    return path


def train(text, workdir, *flags, processes=0):
    """A run of one process, or of several; returns it when it is over."""
    several = ["experiments.launch", f"--processes={processes}", "--"] if processes else []
    command = [*several, *FLAGS, f"--data={text}", f"--workdir={workdir}", *flags]
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=300
    )


def losses(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {(row["step"], row["split"]): row["loss"] for row in rows}


def last(workdir):
    """The arrays of the last state, whatever process wrote it."""
    kept = Checkpoints(workdir / "checkpoints" / "last")
    tree = kept._restore(params=None, state=None)
    return jax.tree.map(np.asarray, tree)


def same(a, b, **tolerance):
    assert losses(a).keys() == losses(b).keys()
    for key, value in losses(a).items():
        np.testing.assert_allclose(value, losses(b)[key], **tolerance)


def test_two_processes_train_the_network_of_one(text, tmp_path):
    alone = train(text, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    both = train(text, tmp_path / "two", processes=2)
    assert both.returncode == 0, both.stdout + both.stderr
    same(tmp_path / "one", tmp_path / "two", rtol=1e-5)
    assert "[0] " in both.stdout
    assert "[1] error" not in both.stdout
    # what the second process prints is lost, and it leaves nothing
    assert both.stdout.count("updates") == 1


@pytest.mark.long
def test_any_number_goes_on_with_what_another_saved(text, tmp_path):
    for name, processes, devices in [("1x1", 0, 1), ("1x4", 0, 4), ("2x1", 2, 1), ("2x2", 2, 2)]:
        for repeat in "ab":
            done = train(
                text, tmp_path / f"{name}{repeat}", f"--devices={devices}", processes=processes
            )
            assert done.returncode == 0, done.stdout + done.stderr
        same(tmp_path / f"{name}a", tmp_path / f"{name}b", rtol=0)
        same(tmp_path / f"{name}a", tmp_path / "1x1a", rtol=1e-5)
    for name in ("1x1", "2x2"):
        for processes in (0, 2, 4):
            begun = tmp_path / f"{name} on {processes}"
            stopped_at_20(tmp_path / f"{name}a", begun)
            done = train(text, begun, "--resume", "--devices=1", processes=processes)
            assert done.returncode == 0, done.stdout + done.stderr
            same(begun, tmp_path / "1x1a", rtol=1e-5)


def stopped_at_20(run, copy):
    """A copy of a finished run as it was when step 20 had been saved."""
    subprocess.run(["cp", "-r", str(run), str(copy)], check=True)
    for kind in ("last", "best"):
        Checkpoints(copy / "checkpoints" / kind).drop_after(20)
    assert Checkpoints(copy / "checkpoints" / "last").newest() == 20


@pytest.mark.long
def test_sigkill_of_either_process_at_random_moments(text, tmp_path):
    """Twenty times; and the run that went on is bit for bit the one that was not killed."""
    assert train(text, tmp_path / "whole", processes=2).returncode == 0
    rng, kills, run = np.random.default_rng(1), 0, 0
    while kills < 20:
        workdir = tmp_path / str(run)
        run += 1
        for _ in range(10):
            resume = ["--resume"] if (workdir / "config.json").exists() else []
            command = [*FLAGS, f"--data={text}", f"--workdir={workdir}", *resume]
            launched = subprocess.Popen(
                [sys.executable, "-m", "experiments.launch", "--processes=2", "--", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if kills < 20:
                time.sleep(rng.uniform(2, 20))
                victims = children(launched.pid)
                if victims:
                    os.kill(victims[rng.integers(len(victims))], signal.SIGKILL)
            start = time.monotonic()
            output, _ = launched.communicate(timeout=300)
            if launched.returncode == 0:
                break
            assert time.monotonic() - start < 30
            assert not children(launched.pid)
            kills += 1
            assert "not every process ended well" in output
        else:
            pytest.fail(f"it never came to its end: {output}")
        same(workdir, tmp_path / "whole", rtol=0)


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


def test_what_cannot_be_is_said(tmp_path):
    def said(*flags):
        command = [sys.executable, "-m", "experiments.char_lm", "--steps=1", *flags]
        workdir = tmp_path / "run"
        done = subprocess.run(
            [*command, f"--workdir={workdir}"], capture_output=True, text=True, timeout=100
        )
        assert not workdir.exists()
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        return done.returncode, lines[0]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        code, line = said(f"--coordinator={taken}", "--num_processes=2")
        assert code == 1
        assert f"--coordinator={taken} cannot be used" in line
    code, line = said("--coordinator=nowhere", "--num_processes=2")
    assert code == 2
    assert "must be HOST:PORT" in line


def test_gpus_are_taken_from_those_that_are_given(monkeypatch):
    config = launch.Config(gpus=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert [launch.gpus_of(config, i) for i in (0, 1)] == [["4"], ["5"]]
    with pytest.raises(InputError, match="--gpus=1 needs 3 GPUs"):
        launch.gpus_of(config, 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert launch.gpus_of(config, 1) == ["1"]


@pytest.mark.parametrize("code", [0, 3])
def test_the_launcher_ends_as_its_processes_do(code, tmp_path, capfd):
    (tmp_path / "program.py").write_text(
        "import sys, os\n"
        "print('gpus', os.environ.get('CUDA_VISIBLE_DEVICES'))\n"
        f"sys.exit({code} if '--process_id=1' in sys.argv else 0)\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.launch", "--processes=2", "--gpus=2"),
            *("--", "program", "--a=1"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])},
    )
    assert done.returncode == code
    assert {"[0] gpus 0,1", "[1] gpus 2,3"} <= set(done.stdout.splitlines())
    assert ("process 1: 3" in done.stderr) == bool(code)


def test_one_process_shares_with_itself(tmp_path):
    """Without others, shared checkpoints are checkpoints."""
    state = init_train_state({"w": np.arange(3.0)}, optax.sgd(0.1))
    shared = SharedCheckpoints(tmp_path / "shared")
    shared.save(state, {"a": 1})
    assert shared.exists()
    assert shared.read_record() == {"a": 1}
    np.testing.assert_array_equal(shared.restore(state).params["w"], np.arange(3.0))
    shared.close()
    assert launch.free_port() > 0
