"""The programs as people meet them: bad input, Ctrl-C, and going on after it."""

import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.char_lm.program import Config
from experiments.common import cli
from seqjax import InputError
from seqjax.files.json import read_lines
from tests.support.tiers import long_only

ROOT = Path(__file__).parents[2]

# Runs `python -m experiments.char_lm` for many command lines. Every one is a process of its own,
# forked where the imports are done but JAX has not started: imports take seconds, bad input none.
FORKS = """
import gc, importlib, json, os, runpy, sys, tempfile
from tests.support.tiers import long_only
for name in ("experiments.char_lm", "experiments.word_lm"):
    importlib.import_module(name)
    del sys.modules[name]
gc.freeze()  # or every fork sweeps all modules at its end
results = []
for name, *arguments in json.load(sys.stdin):
    files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    pid = os.fork()
    if pid == 0:
        for fd, file in enumerate(files, 1):
            os.dup2(file.fileno(), fd)
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)
        sys.exit()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for file in files:
        file.seek(0)
    results.append((code, *(file.read().decode() for file in files)))
json.dump(results, sys.stdout)
"""


def run_all(*cases):
    """`(exit code, stdout, stderr)` of every command line, given without the python -m."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        cwd=ROOT,
        input=json.dumps([[str(argument) for argument in case] for case in cases]),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", -3),
        ("layers", 0),
        ("seq_len", 0),
        ("batch_size", 0),
        ("length", 0),
        ("eval_every", 0),
        ("steps", -1),
        ("epochs", -2),
        ("sample_every", -1),
        ("ngram_order", -1),
        ("top_k", -5),
        ("decay_after", -1),
        ("dropout", 1.0),
        ("dropout", math.nan),
        ("learning_rate", math.nan),
        ("learning_rate", -0.1),
        ("learning_rate", math.inf),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("init_scale", -0.5),
        ("save_every", -1),
        ("spike_factor", 1.0),
    ],
)
def test_numbers_out_of_range_are_refused_by_name_and_value(name, value):
    with pytest.raises(InputError, match=rf"--{name} must .*got {re.escape(str(value))}\.$"):
        Config(**{name: value})


@pytest.mark.parametrize(
    "fields",
    [{"steps": 1, "epochs": 1}, {"sample_only": True}, {"checkpoint": "somewhere"}],
)
def test_flags_that_contradict_each_other_are_refused(fields):
    with pytest.raises(InputError, match=r"--.* (and|or) .*") as caught:
        Config(**fields)
    assert all(f"--{name}" in str(caught.value) for name in fields)


@pytest.mark.whole
def test_bad_command_lines_end_in_one_sentence(tmp_path, long):
    text, empty, binary = (tmp_path / name for name in ("text.txt", "empty.txt", "binary.txt"))
    text.write_text("some text\n" * 400)
    empty.touch()
    binary.write_bytes(b"a\0b" * 5000)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "config.json").write_text("{}")
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "config.json").write_text('{"steps": "many"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"steps": ')
    cases = {
        ("--cell=lstn",): ["--cell=lstn", "lstm"],
        ("--hiden_size=8",): ["hiden_size", "Did you mean: hidden_size"],
        ("--hidden_size=big",): ["hidden_size=big"],
        ("extra",): ["unexpected argument 'extra'"],
        ("--hidden_size=-8",): ["--hidden_size must be", "got -8"],
        ("--seq_len=0",): ["--seq_len must be", "got 0"],
        ("--seq_len=4000",): ["give more text"],
        ("--learning_rate=nan",): ["--learning_rate must be", "got nan"],
        (f"--data={tmp_path}/no.txt",): [f"{tmp_path}/no.txt: no such file"],
        (f"--data={empty}",): [f"{empty}: the training text is empty"],
        (f"--data={binary}",): [f"{binary} is binary"],
        (f"--workdir={text}/run",): [f"cannot make the directory {text}/run"],
        (f"--workdir={tmp_path}/used",): [
            f"{tmp_path}/used holds a run already",
            "go on with --resume,",
        ],
        ("--sample_only", f"--checkpoint={tmp_path}"): [f"no checkpoint in {tmp_path}."],
        ("--sample_only", f"--checkpoint={text}"): [f"no checkpoint in {text}."],
        ("--resume",): ["--resume needs the --workdir", "new"],
        ("--resume", "--workdir="): ["--resume needs the --workdir"],
        ("--resume", f"--workdir={tmp_path}/wrong"): ["steps in", "must be int, got 'many'"],
        ("--nonfinite=ignore",): ["--nonfinite=ignore", "skip"],
        ("--spike_factor=0.5",): ["--spike_factor must be above 1", "got 0.5"],
        ("--save_seconds=-1",): ["--save_seconds must be", "got -1"],
        ("--resume", f"--workdir={tmp_path}/broken"): ["config.json is not valid JSON"],
        ("--resume", f"--workdir={'a' * 300}"): ["is no path"],
        # absl's own
        ("--verbosity=loud",): ["--verbosity=loud"],
        ("--stderrthreshold=low",): ["--stderrthreshold must be one of", "low"],
        ("--logger_levels=a",): ["--logger_levels=a"],
        (f"--flagfile={tmp_path}/none",): ["flagfile", f"{tmp_path}/none"],
        (f"--flagfile={sys.executable}",): ["file of flags is not UTF-8"],
        ("--tie_weights=perhaps",): ["--tie_weights=perhaps"],
        ("--steps",): ["steps"],
    }
    if not long:  # each is a process of its own
        cases = dict(list(cases.items())[::4])
    base = [f"--data={text}", f"--workdir={tmp_path}/new", "--steps=1", "--hidden_size=8"]
    before = sorted(tmp_path.rglob("*"))
    helps = [["experiments.word_lm", flag] for flag in ("--help", "--helpshort", "--helpfull")]
    lines = [["experiments.char_lm", *base, *flags] for flags in cases]
    (code, help_text, _), *results = run_all(*helps, *lines)
    assert [code, *(code for code, _, _ in results[:2])] == [0, 0, 0]
    assert "Zaremba" in help_text
    assert "--max_vocabulary" in help_text
    for (flags, words), (code, _, err) in zip(cases.items(), results[2:], strict=True):
        assert "Traceback" not in err, (flags, err)
        for word in words:
            assert word in err, (flags, err)
        assert re.fullmatch(r"error: [^\n]+\.\n", err), (flags, err)
        assert code == 2, (flags, code)
    assert sorted(tmp_path.rglob("*")) == before


def start(*arguments):
    # A shell may start tests with Ctrl-C ignored, which a child would inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.char_lm", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


HELLO = f"{sys.executable} -m experiments.hello"
SHELL = {  # a command line, and what it answers: exit code, standard output, standard error
    "help into a closed pipe": (f"{HELLO} --help | true; exit ${{PIPESTATUS[0]}}", 0, "", ""),
    "one line is read": (f"{HELLO} | head -1 >&2; exit ${{PIPESTATUS[0]}}", 0, "", ".*\\n"),
    "nobody reads errors": (f"{HELLO} --nope 2>&1 | true; exit ${{PIPESTATUS[0]}}", 2, "", ""),
    "no standard output": (f"{HELLO} >&-", 0, "", ""),
    "no standard error": (f"{HELLO} --nope 2>&-", 2, "", ""),
    "none of the three": (f"{HELLO} <&- >&- 2>&-", 0, "", ""),
    "a full disk behind it": (f"{HELLO} >/dev/full", 1, "", "error: No space left on device.\\n"),
    "ASCII": (
        f"PYTHONIOENCODING=ascii {HELLO} $'\\u6f22'",
        *(2, "", r"error: unexpected argument '\\u6f22'; .*\n"),
    ),
    "no such platform": (
        f"JAX_PLATFORMS=foo {HELLO}",
        *(2, "", "error: JAX cannot start with JAX_PLATFORMS=foo: [^\\n]*foo[^\\n]*\\.\\n"),
    ),
    "without docstrings": (
        f"{sys.executable} -OO -m experiments.hello --nope",
        2,
        "",
        "error: .*\\n",
    ),
    "help without docstrings": (
        f"{sys.executable} -OO -m experiments.hello --help",
        0,
        "(?s).*",
        "",
    ),
}


@pytest.mark.parametrize(
    "name",
    [n if n in ("no standard output", "ASCII") else long_only(n) for n in SHELL],
)
@pytest.mark.whole
def test_whatever_the_streams_and_the_environment_are(name):
    line, code, out, err = SHELL[name]
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done
    assert re.fullmatch(out, done.stdout), done
    assert re.fullmatch(err, done.stderr), done


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="sees imports by their libraries")
@pytest.mark.parametrize("library", ["jaxlib", "tensorstore"])
def test_ctrl_c_during_the_imports_is_a_sentence(library):
    process = start("--help")
    try:
        deadline = time.monotonic() + 60
        while library not in Path(f"/proc/{process.pid}/maps").read_text():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "error: interrupted.\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."),
        RuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating 32 bytes."),
        RuntimeError("std::bad_alloc"),
        ValueError("Maximum allowed dimension exceeded"),
        ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum"),
    ],
)
def test_out_of_memory_by_any_name_is_one_sentence(error, capsys):
    with pytest.raises(SystemExit) as caught, cli._sentences():
        raise error
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: out of memory: choose smaller sizes.\n"


def test_bugs_show_a_traceback():
    with pytest.raises(ValueError, match="a bug"), cli._sentences():
        raise ValueError("a bug")


@pytest.mark.long
def test_ctrl_c_saves_and_resume_goes_on(tmp_path):
    text, workdir = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("the cat sat on the mat.\n" * 200)
    process = start(
        f"--data={text}",
        f"--workdir={workdir}",
        "--steps=100000000",
        "--eval_every=10000000",
        "--sample_every=0",
        "--hidden_size=8",
        "--seq_len=8",
        "--batch_size=4",
        "--ngram_order=2",
    )
    try:
        deadline = time.monotonic() + 120
        while not read_lines(workdir / "metrics.jsonl"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    stopped = re.fullmatch(rf"error: stopped by SIGINT; step (\d+) is saved; .*{workdir}\.\n", err)
    assert stopped, err
    step = int(stopped[1])
    assert (workdir / "checkpoints" / "last" / str(step)).is_dir()
    rows = read_lines(workdir / "metrics.jsonl")

    resume = ["experiments.char_lm", "--resume", f"--workdir={workdir}"]
    other, more = run_all([*resume, "--hidden_size=9"], [*resume, f"--steps={step + 7}"])
    code, _, err = other
    assert code == 2
    assert re.fullmatch(r"error: [^\n]* --hidden_size=8, got --hidden_size=9[^\n]*\n", err)
    code, out, err = more
    assert code == 0, err
    assert "validation: " in out
    resumed = read_lines(workdir / "metrics.jsonl")
    kept = [row for row in rows if row["step"] <= step]
    assert resumed[: len(kept)] == kept
    assert resumed[-1]["step"] == step + 7
