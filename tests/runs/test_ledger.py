"""The ledger of a study."""

import json
import math

import pytest

from seqjax.errors import InputError
from seqjax.runs.ledger import Ledger


def test_units_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "units.jsonl"
    with Ledger(path, resume=False) as ledger:
        assert ledger.get("a") is None
        written = ledger.write("a", {"loss": 0.1, "nan": math.nan, "pair": (1, 2)})
        assert written == {"loss": 0.1, "nan": None, "pair": [1, 2]}
        ledger.write("b", {})
        with pytest.raises(InputError, match="'a' is in"):
            ledger.write("a", {})
    with Ledger(path, resume=True) as ledger:
        assert ledger.get("a") == written
        assert list(ledger.rows) == ["a", "b"]
    with Ledger(path, resume=False) as ledger:
        assert ledger.rows == {}
    assert path.read_text() == ""


def test_half_a_line_is_done_again(tmp_path):
    path = tmp_path / "units.jsonl"
    path.write_text('{"key": "a", "x": 1}\n{"key": "b", "x"')
    with Ledger(path, resume=True) as ledger:
        assert ledger.rows == {"a": {"x": 1}}
        ledger.write("b", {"x": 2})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"key": "a", "x": 1}, {"key": "b", "x": 2}]


@pytest.mark.parametrize(
    "text", ['{"x": 1}\n', '{"key": 3}\n', '{"key": "a"}\n{"key": "a"}\n', "[1]\n", "{\n", "\xff\n"]
)
def test_a_damaged_line_is_named(text, tmp_path):
    path = tmp_path / "units.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"units\.jsonl|line \d"):
        Ledger(path, resume=True)
    assert path.read_bytes() == text.encode("latin-1")


def test_rows_of_another_study_are_refused(tmp_path):
    path = tmp_path / "units.jsonl"
    with Ledger(path, resume=False, of="one") as ledger:
        assert ledger.write("a", {"x": 1}) == {"x": 1}
    with Ledger(path, resume=True, of="one") as ledger:
        assert ledger.rows == {"a": {"x": 1}}
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"line 1 of .* is of another study"):
        Ledger(path, resume=True, of="two")
    assert path.read_bytes() == before
    path.write_text('{"key": "a", "x": 1}\n')  # as written before rows said it
    with Ledger(path, resume=True, of="two") as ledger:
        assert ledger.rows == {"a": {"x": 1}}


def test_a_row_cannot_take_the_ledgers_own_fields(tmp_path):
    with (
        Ledger(tmp_path / "rows.jsonl", resume=False) as ledger,
        pytest.raises(InputError, match="cannot have a field 'key'"),
    ):
        ledger.write("a", {"key": "b"})
