"""Levels: what can be finished and what cannot, and the corpus's own."""

import json
from itertools import pairwise

import numpy as np
import pytest

from seqjax import InputError
from seqjax.tasks.platformer import HEIGHT, JUMPS, SOLID, check_level, draw_level, finish, with_path


def level(*rows, sky=8):
    """A level with air above it."""
    return (*["-" * len(rows[0])] * sky, *rows)


def pit(width):
    return level("-" * (8 + width), "XXXX" + "-" * width + "XXXX")


def wall(height):
    ground = ["XXXXXXXXX"]
    return level(*["----X----"] * height, *ground)


def test_jumps_reach_four_up_and_eight_across():
    assert max(up for jump in JUMPS for up, _ in jump) == 4
    assert max(ahead for jump in JUMPS for _, ahead in jump) == 8
    for jump in JUMPS:
        steps = np.diff(np.array([(0, 0), *jump]), axis=0)
        assert np.abs(steps).max() == 1


@pytest.mark.parametrize(
    ("width", "possible"), [(1, True), (4, True), (8, True), (9, False), (12, False)]
)
def test_pits(width, possible):
    assert (finish(pit(width)) is not None) == possible


@pytest.mark.parametrize(("height", "possible"), [(1, True), (4, True), (5, False)])
def test_walls(height, possible):
    assert (finish(wall(height)) is not None) == possible


def test_a_ceiling_stops_a_jump_and_there_is_no_floor_below():
    low = ("XXXXXXXXXXXX", "------------", "XXXX----XXXX")
    assert finish(low) is None  # no room to jump over four tiles
    high = ("------------", *["------------"] * 5, "XXXX----XXXX")
    assert finish(high) is not None


def test_the_way_is_one():
    """Each place is free, the next is near, and the last is in the last column."""
    found = draw_level(np.random.default_rng(5), 120)
    way = finish(found)
    assert way[0][1] < 3
    assert way[-1][1] == 119
    for (row, column), (next_row, next_column) in pairwise(way):
        assert row < 0 or found[row][column] not in SOLID
        assert abs(next_column - column) <= 1
        assert abs(next_row - row) <= 2
    marked = with_path(found)
    assert sum(row.count("x") for row in marked) > 60
    assert [row.replace("x", "-") for row in marked] == list(found)


@pytest.mark.parametrize("seed", range(20))
def test_every_level_of_the_grammar_can_be_finished(seed):
    random = np.random.default_rng(seed)
    for columns in (60, 150):
        found = draw_level(random, columns)
        check_level(found)
        assert len(found) == HEIGHT
        assert len(found[0]) == columns
        assert finish(found) is not None
    assert any("-" in found[-1] for found in [draw_level(random, 200)])  # there are pits


def test_levels_that_are_none():
    with pytest.raises(InputError, match=r"must be of one length, got \[2, 3\]"):
        check_level(("--", "---"))
    with pytest.raises(InputError, match="got '@'"):
        check_level(("-@", "XX"))
    with pytest.raises(InputError, match="cannot be finished"):
        with_path(pit(20))


def test_levels_of_the_corpus(data_dir):
    """All 15 of Super Mario Bros. can be finished; of its successor those without moving platforms."""
    counts = {}
    for game in ("smb1", "smb2j"):
        levels = json.loads((data_dir / "vglc_mario" / f"{game}_processed.json").read_text())
        done = [finish(tuple(text.split())) is not None for text in levels.values()]
        counts[game] = sum(done), len(done)
    assert counts["smb1"] == (15, 15)
    assert counts["smb2j"] == (16, 22)  # the corpus's own solver counts the same
