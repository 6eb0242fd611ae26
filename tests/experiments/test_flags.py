"""A flag that would do nothing is refused."""

import pytest

from experiments.architecture_search.config import Config as Search
from experiments.architectures.program import Config as Architectures
from experiments.caption.config import Config as Caption
from experiments.frames.config import Config as Frames
from experiments.lstm_variants.config import Config as Variants
from experiments.mario.program import Config as Mario
from experiments.parallel_in_time.program import Config as Parallel
from experiments.pixels.program import Config as Pixels
from experiments.regularisation.program import Config as Regularisation
from experiments.tag.config import Config as Tag
from experiments.translate.config import Config as Translate
from experiments.trees.config import Config as Trees
from experiments.vqa.config import Config as Questions
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
        (Caption, {"min_count": 1}, "--min_count has no use with --data=scenes"),
        (Frames, {"sights": "forward", "window": 3}, "--window has no use with --sights=forward"),
        (Mario, {"game": "smb2"}, "--game has no use with --data=grammar"),
        (Pixels, {"length": 5}, "--length has no use with --task=images"),
        (Pixels, {"steps": 5}, "--steps has no use with --task=images"),
        (Pixels, {"size": 7}, "--size has no use with --data=digits"),
        (Pixels, {"size": 7, "task": "copy"}, "--size has no use with --task=copy"),
        (Translate, {"source": "fr"}, "--source has no use with --data=dates,copy"),
    ],
)
def test_flags_without_an_effect_are_refused(config, fields, named):
    with pytest.raises(InputError, match=named):
        config(**fields)


@pytest.mark.parametrize(
    "config",
    [Caption, Frames, Questions, Tag, Translate, Trees, Mario, Pixels, Parallel, Regularisation],
)
@pytest.mark.parametrize("seed", [-1, 2**31 - 1])
def test_a_seed_is_one_of_numpys_and_of_jaxs(config, seed):
    with pytest.raises(InputError, match=f"--seed must lie between 0 and .*, got {seed}"):
        config(seed=seed)


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (Tag, {"schedule": "step", "decay_factor": 0.0}, "--decay_factor must"),
        (Translate, {"weight_decay": 0.1}, "--weight_decay needs --optimizer=adamw, got 'adam'"),
        (Trees, {"formulas": 20}, "--formulas must be at least the --batch_size of"),
        (Mario, {"columns": 20}, "--columns must be at least 30"),
        (Mario, {"temperature": -1.0}, "--temperature must be a finite number of at least 0"),
        (Pixels, {"order": "blocks", "data": "x", "size": 7}, "--size must be even, got 7"),
        (Translate, {"curve": ",", "checkpoint": "x"}, "--curve takes widths such as"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(config, fields, message):
    with pytest.raises(InputError, match=message):
        config(**fields)


def test_they_are_taken_where_they_have_one():
    Variants(task="handwriting", skip="a01", data_dir="x")
    Architectures(tasks="words,xml", data="x")
    Search(tasks="words", data="x")
