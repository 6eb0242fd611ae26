"""Progress where standard error is no terminal: few plain lines, and always the last."""

import re
import sys
import time

import pytest

from seqjax.runs.progress import Progress


@pytest.mark.parametrize(("seconds", "shown"), [(1e9, [9]), (0.0, [5, 7, 9])])
def test_lines_are_rare_but_the_last_step_is_shown(capsys, seconds, shown):
    progress = Progress(9, initial=3, seconds=seconds)
    for step in (5, 7, 9):
        progress.update(step, f"loss {step / 10}")
    progress.print("done")
    progress.close()
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "done"
    assert [int(re.match(r"step (\d)/9  loss 0\.\1  .* s left$", s)[1]) for s in lines] == shown


def test_what_an_earlier_run_did_counts_for_no_pace(capsys, monkeypatch):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    progress = Progress(4)
    progress.pass_over()
    progress.pass_over()
    progress.update(3, "c")
    progress.close()
    assert capsys.readouterr().out == "step 3/4  c  20.0 s a step, 20 s left\n"


def test_nor_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress(20)
    for _ in range(15):
        progress.pass_over()
    progress._bar.start_t -= 45
    progress._bar.last_print_t -= 45
    progress.update(16, "a")
    shown = progress._bar.format_dict
    progress.close()
    assert (shown["n"], shown["initial"]) == (16, 15)
    assert 1 / shown["rate"] == pytest.approx(45, rel=0.1)
