"""Lists of whole numbers in one flag."""

import pytest

from experiments.common.flag_lists import whole_numbers
from seqjax import InputError


def test_numbers_keep_their_order():
    assert whole_numbers("--sizes", " 30, 2,30 ") == (30, 2, 30)
    assert whole_numbers("--sizes", "4,5", at_least=4) == (4, 5)


@pytest.mark.parametrize(
    "text", ["", ",", "4,,5", "0", "-1", "1.5", "1e3", "ten", "²", "4,2", "2147483648", "9" * 5000]
)
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(InputError, match=r"^--sizes takes whole numbers of at least 3, .*\.$"):
        whole_numbers("--sizes", text, at_least=3)
