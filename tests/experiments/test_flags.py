"""A flag that would do nothing is refused."""

import pytest

from experiments.architecture_search.config import Config as Search
from experiments.architectures.program import Config as Architectures
from experiments.lstm_variants.config import Config as Variants
from seqjax.errors import InputError


@pytest.mark.parametrize(
    ("config", "fields", "named"),
    [
        (Variants, {"variants": ","}, "unknown variant ''"),
        (Variants, {"variants": "lstm_np,"}, "unknown variant ''"),
        (Variants, {"skip": "a01"}, "--skip is for --task=handwriting, got 'a01'"),
        (Variants, {"data_dir": "x"}, "--task=harmony takes no --data_dir, got 'x'"),
        (Architectures, {"data": "x"}, "--data is the text for --tasks=words, got 'x'"),
        (Architectures, {"tasks": ","}, "unknown name ''"),
        (Search, {"data": "x"}, "--data is the text for --tasks=words, got 'x'"),
        (Search, {"engine": "local", "cluster": "x"}, "--cluster is for --engine=ray or slurm"),
        (Search, {"workers": 2}, "--workers is for --engine=local or slurm"),
    ],
)
def test_flags_without_an_effect_are_refused(config, fields, named):
    with pytest.raises(InputError, match=named):
        config(**fields)


def test_they_are_taken_where_they_have_one():
    Variants(task="handwriting", skip="a01", data_dir="x")
    Architectures(tasks="words,xml", data="x")
    Search(tasks="words", data="x")
