"""A run that lost its last states does not begin again over what is left."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from seqjax.errors import RunError
from seqjax.runs.checkpoint import Checkpoints
from seqjax.runs.metrics import Records
from seqjax.runs.traces import check_never_began


class Counted(NamedTuple):
    step: jax.Array


def save(directory, step):
    checkpoints = Checkpoints(directory)
    checkpoints.save(Counted(jnp.int32(step)), {})
    checkpoints.close()


def test_a_run_that_was_killed_before_its_first_row_begins_again(tmp_path):
    check_never_began(tmp_path)
    Records(tmp_path).close()
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    (tmp_path / "checkpoints" / "last" / "0.unfinished").mkdir(parents=True)
    check_never_began(tmp_path)


@pytest.mark.parametrize(
    ("left", "named"),
    [
        (("rows",), "rows in metrics.jsonl"),
        (("best",), "states in checkpoints/best"),
        (("rows", "best"), "rows in metrics.jsonl and states in checkpoints/best"),
    ],
)
def test_a_run_that_left_something_does_not(left, named, tmp_path):
    if "rows" in left:
        records = Records(tmp_path)
        records.write(1, "train", loss=1.0)
        records.close()
    if "best" in left:
        save(tmp_path / "checkpoints" / "best", 1)
    with pytest.raises(RunError, match=rf"has {named}, and no state in checkpoints/last to go on"):
        check_never_began(tmp_path)


def test_half_a_row_is_a_trace_too(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step"')
    with pytest.raises(RunError, match="bring back what is missing"):
        check_never_began(tmp_path)
