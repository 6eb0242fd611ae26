"""Lists of numbers in one flag."""

import pytest

from experiments.common.flag_lists import positive_numbers, whole_numbers
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


def test_positive_numbers_come_once_each():
    assert positive_numbers("--rates", "1e-2, 2,.01") == (0.01, 2.0)
    for text in ("", "1,", "a", "0", "-1", "inf", "nan"):
        with pytest.raises(InputError, match="--rates"):
            positive_numbers("--rates", text)
