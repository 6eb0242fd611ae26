"""A cell of one's own on the command line, and never from a file."""

import json
import os
import re
import subprocess
import sys

import pytest

from experiments.common.cells import factory_of
from seqjax import CELLS, InputError
from tests.test_readme import ROOT

pytestmark = pytest.mark.whole

PAGE = (ROOT / "docs" / "own_cell.md").read_text(encoding="utf-8")
CODE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1].partition("\n\ncell = ")[0]
FLAGS = ["--hidden_size=8", "--batch_size=8", "--seq_len=5", "--ngram_order=0", "--sample_every=0"]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "my_cells.py").write_text(CODE + "\n\ndef no_cell(units):\n    return units\n")
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 100)

    def run(*flags):
        command = [sys.executable, "-m", "experiments.char_lm", "--data=text.txt", *flags]
        paths = os.pathsep.join([str(tmp_path), str(ROOT)])
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )

    return run


def test_the_page_s_cell_is_trained_and_goes_on(run, tmp_path):
    done = run("--cell=my_cells:leak", *FLAGS, "--steps=4", "--workdir=run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "config.json").read_text())["cell"] == "my_cells:leak"
    refused = run("--resume", "--workdir=run")
    assert refused.returncode == 2
    assert "code is not run because a file names it; give --cell" in refused.stderr
    again = run("--resume", "--workdir=run", "--cell=my_cells:leak")
    assert again.returncode == 0, again.stderr
    written = run("--sample_only", "--checkpoint=run")
    assert written.returncode == 2
    assert len(written.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstmm", "is none of rnn, "),
        ("my_cells:nothing", "cannot be used: AttributeError"),
        ("nowhere:leak", "cannot be used: ModuleNotFoundError"),
        ("my_cells:no_cell", "must make a seqjax.Cell of a number of units, got int"),
        ("os:system", "cannot be used: TypeError"),
    ],
)
def test_what_is_no_cell_is_said(name, message, tmp_path, monkeypatch):
    (tmp_path / "my_cells.py").write_text("def no_cell(units):\n    return units\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message):
        factory_of(name)


def test_a_name_of_the_table_is_its_cell():
    assert factory_of("gru") is CELLS["gru"]
