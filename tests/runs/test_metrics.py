"""What a run writes: rows, TensorBoard events, and files that are whole or not there."""

import json
import math
import shutil
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from seqjax.errors import InputError, RunError
from seqjax.files.json import read_lines, write_json
from seqjax.files.writing import write_atomically
from seqjax.runs import sinks
from seqjax.runs.metrics import Records
from seqjax.runs.sinks import open_sinks, sinks_of


def write_rows(workdir, steps, resume_step=0):
    records = Records(workdir, resume_step=resume_step)
    for step in steps:
        records.write(step, "train", loss=1 / step)
        if step % 2 == 0:
            records.write(step, "validation", loss=2 / step)
    records.close()


def read_events(workdir):
    """`{(tag, step): value}` from TensorBoard's files: length, its CRC, the event, its CRC."""
    scalars = {}
    for path in sorted((workdir / "tensorboard").glob("events.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += length + 16
            for value in event.summary.value:
                scalars[value.tag, event.step] = value.simple_value
    return scalars


def test_rows_and_events_hold_what_was_written(tmp_path):
    records = Records(tmp_path)
    records.write(3, "train", loss=jnp.float32(0.5), rate=np.float64(0.125))
    assert read_lines(tmp_path / "metrics.jsonl")  # on disk at once, for who watches the run
    records.write(4, "validation", loss=math.nan, other=-math.inf, skipped=2)
    records.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == [
        {"step": 3, "split": "train", "loss": 0.5, "rate": 0.125},
        {"step": 4, "split": "validation", "loss": None, "other": None, "skipped": 2},
    ]
    assert read_events(tmp_path) == {
        ("train/loss", 3): 0.5,
        ("train/rate", 3): 0.125,
        ("validation/skipped", 4): 2,
    }


def test_a_resumed_run_leaves_the_same_file(tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for workdir in (whole, resumed):
        workdir.mkdir()
    write_rows(whole, range(1, 10))
    write_rows(resumed, range(1, 8))
    path = resumed / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 8, "spl')  # cut off in writing
    write_rows(resumed, range(5, 10), resume_step=4)
    assert path.read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_resume_step_0_starts_afresh(tmp_path):
    write_rows(tmp_path, range(1, 5))
    write_rows(tmp_path, [9])
    assert [row["step"] for row in read_lines(tmp_path / "metrics.jsonl")] == [9]


def test_reading_leaves_out_half_a_line_and_survives_no_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}')
    assert read_lines(path) == [{"step": 1}, {"step": 2}]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    value = {"text": "漢字\n", "list": [1, 2.5, None]}
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    with pytest.raises(TypeError):
        write_json(path, {"text": object()})
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "good" * 5000 + "\ud800")  # fails while it is being written
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_results_that_are_not_finite_are_still_json(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"loss": math.nan, "nested": [{"rate": math.inf}, 1.5]})
    value = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert value == {"loss": None, "nested": [{"rate": None}, 1.5]}


def test_event_files_have_the_checksums_of_tfrecord(tmp_path):
    write_rows(tmp_path, range(1, 5))
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, place = path.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        for start, size in ((place, 8), (place + 12, length)):
            (stored,) = struct.unpack_from("<I", data, start + size)
            checksum = crc32c(data[start : start + size])
            turned = (checksum >> 15 | checksum << 17) % 2**32  # "masked"
            assert stored == (turned + 0xA282EAD8) % 2**32
        place += length + 16


def test_tensorboard_as_a_link_into_another_run_is_refused(tmp_path):
    other, run = tmp_path / "other", tmp_path / "run"
    other.mkdir()
    run.mkdir()
    (run / "tensorboard").symlink_to(other)
    with pytest.raises(RunError, match=r"cannot write .*tensorboard: it is a link\."):
        Records(run)
    assert not list(other.iterdir())


def test_rows_of_a_run_that_was_removed_are_an_error(tmp_path):
    (tmp_path / "run").mkdir()
    records = Records(tmp_path / "run")
    records.write(1, "train", loss=1.0)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError, match=r"metrics\.jsonl was removed, moved or replaced"):
        records.write(2, "train", loss=1.0)
    records.close()


def test_a_sink_that_fails_is_left_out(tmp_path, monkeypatch, capsys):
    class Broken:
        def __init__(self, *arguments):
            self.written = 0

        def write(self, step, values):
            raise ConnectionError("no server")

        def close(self):
            raise AssertionError("it was left out")

    monkeypatch.setitem(sinks.OPENED, "wandb", Broken)
    records = Records(tmp_path, sinks=sinks.open_sinks(["wandb"], tmp_path, {}))
    for step in (1, 2):
        records.write(step, "train", loss=1.0)
    records.close()
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 2
    assert capsys.readouterr().err.count("wandb is left out from here on") == 1

    def refused(*arguments):
        raise ValueError("no key")

    monkeypatch.setitem(sinks.OPENED, "wandb", refused)
    with pytest.raises(RunError, match="log_to=wandb cannot be begun: ValueError: no key"):
        sinks.open_sinks(["wandb"], tmp_path, {})


@pytest.mark.parametrize("name", ["nothing", "wandb,nothing"])
def test_an_unknown_sink_is_refused(name):
    with pytest.raises(InputError, match=r"unknown sink 'nothing'|needs wandb"):
        sinks_of(name)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_rows_go_to_wandb_and_mlflow_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    tracking = pytest.importorskip("mlflow.tracking")
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    opened = open_sinks(sinks_of("wandb, mlflow"), tmp_path, {"seed": 3})
    records = Records(tmp_path, sinks=opened)
    for step in (1, 2):
        records.write(step, "train", loss=1.0 / step, other=math.nan)
    records.close()
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    where = client.get_experiment_by_name("seqjax").experiment_id
    (run,) = client.search_runs([where])
    assert run.data.params == {"seed": "3"}
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(1, 1.0), (2, 0.5)]
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert file.stat().st_size > 100
