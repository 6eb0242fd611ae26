"""Runs that are killed, run out of disk, or find their files damaged: nothing is lost.

`--long` injects hundreds of faults. Every SIGKILL is followed by a comparison, bit for bit, of what
is on the disk with the uninterrupted run, and by a resume, which in the end must leave the same.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from seqjax.runs.checkpoint import Checkpoints
from tests.support.tiers import long_only

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]
SMALL = ["--hidden_size=8", "--seq_len=8", "--batch_size=4"]
CHAR_LM = [*SMALL, "--steps=60", "--eval_every=20", "--save_every=5", "--ngram_order=2"]
CHAR_LM += ["--sample_every=30", "--length=20", "--dropout=0.1"]
EXPERIMENTS = {
    "char_lm": ["char_lm", *CHAR_LM],
    # goes back at nearly every step: the best checkpoint is part of what is computed
    "char_lm rolling back": ["char_lm", *CHAR_LM, "--spike_factor=1.05", "--layers=2"],
    "char_lm on 2 devices": ["char_lm", *CHAR_LM, "--devices=2", "--cell=gru"],
    "word_lm": ["word_lm", *SMALL, "--epochs=5", "--max_vocabulary=8"],
    # a study of many units: what is finished is in its ledger
    "latch": ["latch", "--lengths=5,8", "--unit_lengths=5", "--runs=3", "--updates=5", "--grid=2"],
    "long_lags": ["long_lags", "--methods=clip,gru", "--lengths=10,12", "--updates=20"],
    # a population, saved within its chunks
    "lstm_variants": ["lstm_variants", "--variants=lstm_np,lstm_fgr", "--trials=4", "--chunk=2"],
}
EXPERIMENTS["latch"] += ["--grid_runs=2", "--max_guesses=10"]
EXPERIMENTS["long_lags"] += ["--seeds=2"]
EXPERIMENTS["lstm_variants"] += ["--hidden_min=3", "--hidden_max=6", "--save_seconds=1"]
NEEDS_TEXT = ("char_lm", "word_lm")


class Forker:
    """Starts experiments quickly (see tests/support/forker.py)."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, argv, log, **limits):
        return self.ask({"argv": argv, "log": str(log), **limits})

    def run(self, argv, log, **limits):
        """Returns the exit code, and what was printed."""
        code = self.ask({"wait": self.start(argv, log, **limits)})
        return code, Path(log).read_text()


@pytest.fixture(scope="module")
def forker():
    forker = Forker()
    yield forker
    forker.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on the mat, and the dog did not.\nnor did the cow.\n" * 60)
    return path


def command(name, text, workdir):
    resume = ["--resume"] if (workdir / "config.json").exists() else []
    data = [f"--data={text}"] if name.startswith(NEEDS_TEXT) else []
    return [*EXPERIMENTS[name], *data, f"--workdir={workdir}", *resume]


def read_rows(workdir):
    """Every JSON-lines file, as it is but for the times in it."""
    times = re.compile(rb', "seconds_per_epoch": [^,}]+')
    return {path.name: times.sub(b"", path.read_bytes()) for path in workdir.glob("*.jsonl")}


def arrays(directory, step):
    """Every array of a checkpoint."""
    handler = ocp.StandardCheckpointer()
    found = handler.restore(directory / str(step) / "state")
    handler.close()
    return [np.asarray(a) for a in _leaves(found)]


def _leaves(tree):
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in _leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for value in tree for leaf in _leaves(value)]
    return [] if tree is None else [tree]


def assert_same_arrays(actual, desired):
    for a, b in zip(actual, desired, strict=True):
        assert (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())


class Reference:
    """An uninterrupted run, with all of its checkpoints."""

    def __init__(self, forker, name, text, workdir):
        self.workdir = workdir
        argv = command(name, text, workdir)
        start = time.monotonic()
        code, output = forker.run(argv, workdir.with_suffix(".log"), keep_all=True)
        self.seconds = time.monotonic() - start
        assert code == 0, output
        self.states = {}
        for kind in ("last", "best"):
            directory = workdir / "checkpoints" / kind
            for step in Checkpoints(directory).steps():
                self.states[kind, step] = arrays(directory, step)
        self.rows = read_rows(workdir)
        assert self.rows

    def check_on_the_way(self, workdir):
        """What a killed run has on the disk is what this one had at some time."""
        whole = {name: rows[: rows.rfind(b"\n") + 1] for name, rows in read_rows(workdir).items()}
        assert all(self.rows[name].startswith(rows) for name, rows in whole.items())
        newest = 0
        for kind in ("last", "best"):
            directory = workdir / "checkpoints" / kind
            checkpoints = Checkpoints(directory)
            for step in checkpoints.steps()[-1:]:
                assert checkpoints.newest() == step
                assert_same_arrays(arrays(directory, step), self.states[kind, step])
                newest = step if kind == "last" else newest
        rows = self.rows.get("metrics.jsonl", b"").splitlines(keepends=True)
        before = b"".join(row for row in rows if json.loads(row)["step"] <= newest)
        # nothing that a checkpoint covers is missing
        assert whole.get("metrics.jsonl", b"").startswith(before)

    def check_at_the_end(self, workdir):
        assert read_rows(workdir) == self.rows
        ours, theirs = (
            json.loads((d / "results.json").read_text()) for d in (self.workdir, workdir)
        )
        assert ours["results"] == theirs["results"]
        for kind in ("last", "best"):
            steps = [step for found, step in self.states if found == kind]
            if steps:
                directory = workdir / "checkpoints" / kind
                assert Checkpoints(directory).steps()[-1] == steps[-1]
                assert_same_arrays(arrays(directory, steps[-1]), self.states[kind, steps[-1]])


@pytest.fixture(scope="module")
def references(forker, text, tmp_path_factory):
    made = {}

    def reference(name):
        if name not in made:
            forker.run(
                command(name, text, tmp := tmp_path_factory.mktemp("warm") / "run"), f"{tmp}.log"
            )
            made[name] = Reference(forker, name, text, tmp_path_factory.mktemp("whole") / "run")
        return made[name]

    return reference


@pytest.mark.parametrize("name", ["char_lm", *map(long_only, list(EXPERIMENTS)[1:])])
def test_sigkill_at_random_moments(name, forker, text, references, tmp_path, long):
    rng = random.Random(name)
    wanted = 50 if long else 1
    reference, kills, runs = references(name), 0, 0
    if long:  # how long it takes when all is compiled
        start = time.monotonic()
        forker.run(command(name, text, tmp_path / "timed"), tmp_path / "log")
        reference.seconds = time.monotonic() - start
    while kills < wanted:
        runs += 1
        workdir, finished = tmp_path / f"run{runs}", False
        while not finished:
            pid = forker.start(command(name, text, workdir), tmp_path / "log")
            if kills < wanted:
                time.sleep(rng.uniform(0.3, 1.1) * reference.seconds)
                os.kill(pid, signal.SIGKILL)  # a zombie, if it has ended: no harm
            code = forker.ask({"wait": pid})
            finished = code == 0
            assert code in (0, -signal.SIGKILL), (tmp_path / "log").read_text()
            kills += not finished
            reference.check_on_the_way(workdir)
        reference.check_at_the_end(workdir)
        shutil.rmtree(workdir)
    print(f"{name}: {kills} SIGKILLs, {runs} runs brought to their end", file=sys.__stderr__)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, long_only(signal.SIGINT), long_only(signal.SIGHUP)]
)
@pytest.mark.parametrize("name", ["char_lm", long_only("word_lm")])
def test_a_signal_is_obeyed_after_the_step_in_hand(
    name, number, forker, text, references, tmp_path
):
    workdir, log = tmp_path / "run", tmp_path / "log"
    reference = references(name)
    pid = forker.start(command(name, text, workdir), log)
    deadline = time.monotonic() + 60
    while (
        not (workdir / "metrics.jsonl").exists() or not (workdir / "metrics.jsonl").stat().st_size
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(pid, number)
    code, said = forker.ask({"wait": pid}), log.read_text()
    assert code == 128 + number, said
    found = re.search(rf"error: stopped by {number.name}; step (\d+) is saved; go on with", said)
    step = int(found[1])
    assert Checkpoints(workdir / "checkpoints" / "last").steps()[-1] == step
    assert f'"step": {step},' in (workdir / "metrics.jsonl").read_text().splitlines()[-1]
    assert forker.run(command(name, text, workdir), log)[0] == 0
    reference.check_at_the_end(workdir)


def stopped_run(forker, text, workdir, log):
    """A run killed after some checkpoints; returns their directory."""
    pid = forker.start(command("char_lm", text, workdir), log)
    last = workdir / "checkpoints" / "last"
    deadline = time.monotonic() + 60
    while len(Checkpoints(last).steps()) < 3:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    forker.ask({"wait": pid})
    return last


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


DAMAGES = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "a flipped bit": flip,
}


@pytest.mark.parametrize(
    "damage", [long_only("deleted"), "a flipped bit", long_only("truncated"), long_only("emptied")]
)
def test_damage_is_named_and_the_one_before_is_used(
    damage, forker, text, references, tmp_path, long
):
    reference = references("char_lm")
    rng = random.Random(damage)
    for repeat in range(8 if long else 1):
        workdir, log = tmp_path / f"run{repeat}", tmp_path / "log"
        last = stopped_run(forker, text, workdir, log)
        newest = Checkpoints(last).steps()[-1]
        files = [
            p for p in sorted((last / str(newest)).rglob("*")) if p.is_file() and p.stat().st_size
        ]
        victim = rng.choice([*files, last / f"{newest}.sha256"])
        DAMAGES[damage](victim)
        listed = victim.suffix != ".sha256"
        code, said = forker.run(command("char_lm", text, workdir), log)
        assert code == 0, said
        if listed:
            name = victim.relative_to(last).as_posix()
            assert f"step {newest} in {last} is damaged ({name} " in said
        elif damage != "deleted":  # as if the save had not come to its end
            assert f"step {newest} in {last} is damaged" in said
        reference.check_at_the_end(workdir)


def test_all_damaged_is_one_sentence(forker, text, tmp_path):
    workdir, log = tmp_path / "run", tmp_path / "log"
    last = stopped_run(forker, text, workdir, log)
    for path in last.glob("*/state/manifest.ocdbt"):
        flip(path)
    code, said = forker.run(command("char_lm", text, workdir), log)
    assert code == 1
    assert "error: every checkpoint in" in said
    assert "Traceback" not in said


LIMITED = """
import resource, runpy, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv = sys.argv[2:]
runpy.run_module(f"experiments.{sys.argv[0]}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("limit", [long_only(n) for n in (200, 3000, 8000)])
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(
    limit, forker, text, references, tmp_path
):
    """Files cannot grow beyond the limit: first a JSON file fails, then a checkpoint, then a row."""
    workdir, reference = tmp_path / "run", references("char_lm")
    full = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *command("char_lm", text, workdir)],
        cwd=ROOT,
        capture_output=True,  # pipes, which have no size
        text=True,
    )
    assert full.returncode == 1, full
    assert "Traceback" not in full.stderr
    assert re.search(r"^error: [^\n]+\.$", full.stderr, re.M), full.stderr
    assert not list(tmp_path.rglob("*.partial"))
    if workdir.exists():
        reference.check_on_the_way(workdir)
    code, said = forker.run(command("char_lm", text, workdir), tmp_path / "log")
    assert code == 0, said
    reference.check_at_the_end(workdir)


def test_two_runs_cannot_share_a_directory(forker, text, references, tmp_path):
    workdir, log = tmp_path / "run", tmp_path / "log"
    pid = forker.start(command("char_lm", text, workdir), log)
    deadline = time.monotonic() + 60
    while not (workdir / "config.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    code, said = forker.run(command("char_lm", text, workdir), tmp_path / "log2")
    assert code == 1
    assert re.search(rf"in use by process {pid} on .*, for \d+:\d\d:\d\d", said), said
    os.kill(pid, signal.SIGKILL)  # its lock goes with it
    forker.ask({"wait": pid})
    code, said = forker.run(command("char_lm", text, workdir), log)
    assert code == 0, said
    references("char_lm").check_at_the_end(workdir)


@pytest.mark.parametrize(
    ("policy", "says"), [("skip", r"updates were skipped \(first"), ("stop", r"^error: stopped at")]
)
def test_a_run_that_is_not_finite_fails(policy, says, forker, text, tmp_path):
    argv = ["char_lm", *CHAR_LM, f"--data={text}", f"--workdir={tmp_path / 'run'}"]
    argv += ["--optimizer=sgd", "--learning_rate=1e38", "--clip_norm=0", "--cell=rnn_linear"]
    found, said = forker.run([*argv, f"--nonfinite={policy}"], tmp_path / "log")
    assert found == 1, said
    assert re.search(says, said, re.MULTILINE), said
    assert re.search(r"first at step \d+, in (the loss|the gradient of )", said), said
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.long
def test_a_run_goes_on_when_nobody_reads_its_output(forker, text, references, tmp_path):
    """As in `python -m experiments.char_lm ... 2>&1 | head -1`."""
    line = " ".join([sys.executable, "-m", "experiments.$0", '"$@" 2>&1 | head -1'])
    argv = command("char_lm", text, tmp_path / "run")
    line = f"{line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line, *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    references("char_lm").check_at_the_end(tmp_path / "run")


@pytest.mark.parametrize("name", ["char_lm", "latch"])
def test_a_directory_that_is_removed_ends_the_run(name, forker, text, tmp_path):
    workdir, log = tmp_path / "run", tmp_path / "log"
    pid = forker.start(command(name, text, workdir), log)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in workdir.glob("*.jsonl")):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.005)
    workdir.rename(tmp_path / "gone")  # all at once
    code, said = forker.ask({"wait": pid}), log.read_text()
    assert code == 1, said
    assert "removed, moved or replaced during the run" in said
    assert "Traceback" not in said
    assert not workdir.exists()


@pytest.mark.parametrize("pattern", ["*.sha256", "[0-9]*[0-9]"])
@pytest.mark.long
def test_lists_or_folders_that_are_gone_refuse_the_resume(pattern, forker, text, tmp_path):
    workdir, log = tmp_path / "run", tmp_path / "log"
    last = stopped_run(forker, text, workdir, log)
    for path in last.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    rewritten = ("lock", "config.json")  # the latter with what the resumed run was given
    before = {
        p: p.read_bytes() for p in workdir.rglob("*") if p.is_file() and p.name not in rewritten
    }
    code, said = forker.run(command("char_lm", text, workdir), log)
    assert code == 1, said
    assert re.search(r"error: every checkpoint in .* is missing\); none can be read", said), said
    after = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    assert {p: after.get(p) for p in before} == before
