"""How many devices share a batch where no flag says, and that what was chosen is kept."""

import json
import os
import subprocess
import sys

import pytest

from experiments.common.devices import AUTO, chosen, with_devices
from experiments.word_lm import Config
from seqjax.search.engines.processes import cores


@pytest.mark.parametrize(
    ("hidden_size", "batch_size", "cores", "count"),
    [
        (64, 64, 2, 1),  # too small to be shared
        (128, 4, 2, 1),  # a device has 8 rows or more
        (128, 16, 2, 2),
        (128, 15, 2, 1),  # ... and as many as every other
        (650, 20, 2, 1),  # or 16, where a weight has 2 MiB
        (512, 64, 2, 2),
        (256, 32, 1, 1),  # and a core of its own
        (256, 32, 64, 4),
        (256, 36, 64, 4),
    ],
)
def test_the_rule(hidden_size, batch_size, cores, count):
    assert chosen("lstm", hidden_size, batch_size, cores) == count


def test_a_number_is_kept_and_auto_replaced():
    sizes = {"hidden_size": 96, "batch_size": 16}
    assert with_devices(Config(**sizes, devices=1)).devices == 1
    assert Config().devices == AUTO
    assert with_devices(Config(**sizes)).devices == min(
        2, len(cores())
    )  # the tests have two devices


@pytest.mark.whole
def test_the_command_line_takes_auto_a_number_and_nothing_else(tmp_path):
    """The choice stands in config.json, so that another machine goes on with the same."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 100)
    flags = ["--hidden_size=96", "--batch_size=16", "--seq_len=5", "--steps=2", "--ngram_order=0"]

    def run(*more):
        command = [sys.executable, "-m", "experiments.char_lm", f"--data={text}", *flags, *more]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("--devices=auto", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["devices"] == min(2, len(os.sched_getaffinity(0)))
    for wrong in ("automatic", "-1", "1.5"):
        done = run(f"--devices={wrong}", f"--workdir={tmp_path / 'wrong'}")
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "an integer, or auto" in done.stderr or wrong == "-1"
    assert not (tmp_path / "wrong").exists()


@pytest.mark.whole
def test_the_command_seqjax():
    def run(*arguments):
        code = "from experiments.common.command import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True
        )

    listed = run()
    assert listed.returncode == 0
    assert "char_lm" in listed.stdout
    assert "hello" in run("run", "hello").stdout
    for wrong, message in ((["go"], "unknown command 'go'"), (["run", "x"], "no program 'x'")):
        done = run(*wrong)
        assert done.returncode == 2
        assert message in done.stderr
