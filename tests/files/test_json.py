"""JSON that strangers wrote: what no float can hold is refused where it is read."""

import pytest

from seqjax import InputError
from seqjax.files.json import parse_json


@pytest.mark.parametrize("text", ["1e999", "-1e400"])
def test_numbers_beyond_a_float_are_refused(text):
    with pytest.raises(InputError, match="beyond a float"):
        parse_json(f'{{"valid": {text}}}', "the ledger")


def test_other_integers_stay_integers():
    assert parse_json(f"[{10**400}, -7, {2**53 + 1}]", "x") == [10**400, -7, 2**53 + 1]


def test_a_number_of_more_digits_than_python_reads_is_refused():
    with pytest.raises(InputError, match="not valid JSON"):
        parse_json("9" * 5000, "the ledger")
