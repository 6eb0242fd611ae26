"""Progress where standard error is no terminal: few plain lines, and always the last."""

import re

import pytest

from seqjax.progress import Progress


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
