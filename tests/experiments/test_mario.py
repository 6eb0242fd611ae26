"""Levels as text and back, their metrics, and the program in small."""

import json

import numpy as np
import pytest

from experiments.mario.metrics import copied, mean_of, metrics_of, windows_of
from experiments.mario.program import Config, marked_share, run
from experiments.mario.text import Way, Written, from_text, load_levels, read_levels, to_text
from seqjax import InputError
from seqjax.tasks.platformer import HEIGHT, draw_level

WAYS = [Way(s, p, d) for s in (False, True) for p in (False, True) for d in (False, True)]


@pytest.mark.parametrize("way", WAYS)
def test_levels_come_back_from_their_text(way):
    random = np.random.default_rng(0)
    levels = [draw_level(random, columns) for columns in (41, 60)]
    text = to_text(levels, way)
    for level in levels:
        first, _, text = text.partition("\n\n")
        found = from_text(first, way, HEIGHT)
        assert found.level == level
        assert found.bad_columns == 0
        assert bool(found.path) == way.path


def test_lines_that_are_no_column_are_counted():
    found = from_text("XX-\nXX\nXZ-\nX--\n\nXX-", Way(False, False, False), 3)
    assert found.level == ("--", "X-", "XX")
    assert found.bad_columns == 2


def test_a_line_that_is_no_column_takes_its_turn_of_snaking():
    way = Way(True, False, False)
    level = tuple("".join(rows) for rows in zip("--X", "-EX", "--X", "-oX", strict=True))
    lines = to_text([level], way).splitlines()
    lines[1] = lines[1] + "-"
    assert from_text("\n".join(lines), way, 3).level == tuple(row[0] + row[2:] for row in level)


def test_snaking_is_up_and_down():
    level = ("ab", "cd", "XX")
    assert to_text([level], Way(True, False, False)) == "Xca\nbdX\n\n"
    deep = ("-" * 11, "X" * 11)
    lines = to_text([deep], Way(False, False, True)).splitlines()
    assert [line.count("@") for line in lines[:-1]] == [0] * 5 + [1] * 5 + [2]


def test_a_level_without_a_way_has_no_length_of_one_and_marks_are_counted_as_they_were_written():
    open_level = ("-" * 30, "-" * 30, "X" * 30)
    broken = ("-" * 30, "-" * 30, "XX" + "-" * 26 + "XX")
    alone, both = mean_of([open_level]), mean_of([open_level, broken])
    assert (alone["finished"], both["finished"]) == (1, 0.5)
    assert both["on_path"] == alone["on_path"] > 0
    assert np.isnan(mean_of([broken])["on_path"])
    path = {(0, 0), (1, 5), (1, 31)}
    assert marked_share([Written(broken, path, 0)]) == pytest.approx(2 / 90)


def test_metrics():
    level = ("----------", "--?---E---", "XXXX--XXXX")
    found = metrics_of(level)
    assert found["finished"] == 1
    assert found["empty"] == pytest.approx(20 / 30)
    assert found["interesting"] == pytest.approx(2 / 30)
    assert found["leniency"] == pytest.approx(100 * 3 / 10)
    windows = set(windows_of([level]))
    assert copied(level, windows) == 1
    assert copied((*level[:2], "XXXX--XXX-"), windows) == pytest.approx(2 / 3)
    assert metrics_of(("---------", "---------", "XXXXXXXXX"))["linearity"] == 1


@pytest.mark.long
def test_the_program_in_small(tmp_path):
    small = {"epochs": 6, "hidden_size": 64, "levels": 4, "columns": 40, "temperature": 0.2}
    config = Config(**small, path=False, workdir=str(tmp_path / "run"))
    results = run(config)
    assert 0 <= results["written"]["finished"] <= 1
    assert results["training"]["finished"] == 1
    assert json.loads((tmp_path / "run" / "results.json").read_text())["results"] == results
    assert (tmp_path / "run" / "levels.png").read_bytes().startswith(b"\x89PNG")


def test_files_of_levels(tmp_path, data_dir):
    levels = load_levels(str(data_dir / "vglc_mario"), "smb1", 0)
    assert (len(levels.train), len(levels.held_out)) == (12, 3)
    path = tmp_path / "smb1_processed.json"
    path.write_text(json.dumps({"a": "--\n---"}))
    with pytest.raises(InputError, match="level a: the rows of a level must be of one length"):
        read_levels(path)
    path.write_text(json.dumps({"a": "--\nZZ", "b": "--"}))
    with pytest.raises(InputError, match="level a: a level has the tiles"):
        read_levels(path)
    path.write_text(json.dumps({"a": "--\nXX"}))
    with pytest.raises(InputError, match="two levels or more"):
        read_levels(path)
    with pytest.raises(InputError, match="there is no file"):
        load_levels(str(tmp_path / "nowhere"), "smb1", 0)
    path.write_text(json.dumps({name: f"--\nX{name}" for name in "-X"}))
    assert list(map(len, load_levels(str(tmp_path), "smb1", 0))) == [1, 1]
    path.write_text(json.dumps(dict.fromkeys("abcde", "--\nXX")))
    with pytest.raises(InputError, match="all levels are alike"):
        load_levels(str(tmp_path), "smb1", 0)
