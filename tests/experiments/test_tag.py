"""The tagger in small: it learns, resumes, predicts; baselines are the published ones."""

import numpy as np
import pytest

from experiments.tag.baselines import baselines
from experiments.tag.features import make_readers, shape_of
from experiments.tag.network import scores
from experiments.tag.program import Config, main, run
from experiments.tag.text import load_splits
from seqjax import InputError
from seqjax.data.sets.columns import TaggedSentence
from tests.support.tiers import long_only

SMALL = {"hidden_size": 8, "embedding_size": 8, "learning_rate": 0.02, "seeds": 1, "batch_size": 8}


def write_columns(folder, *, names=("train", "test")):
    """Chunks of a capital word and what follows it; words of digits are outside."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in names:
        lines = []
        for _ in range(120):
            for _ in range(random.integers(1, 4)):
                word = "".join(random.choice(list("abcdef"), size=3))
                lines += [f"{word.capitalize()} NNP B-X", f"{word} NN I-X", f"{word}1 CD O"]
            lines.append("")
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("tag")
    data = write_columns(root / "data")
    config = {"data": str(data), "directions": "both", "output": "crf", "epochs": 3}
    changes = SMALL | config | {"features": "word,case"}
    return root / "run", changes, run(Config(**changes, workdir=str(root / "run")))


@pytest.mark.long
def test_it_learns_chunks_and_writes_what_was_found(trained):
    workdir, _, results = trained
    found = results["test"]["bidirectional lstm, CRF"]
    assert found["f1"][0] > 0.98 > results["baselines"]["most frequent tag of the word"]["f1"]
    assert set(found) == {"f1", "strict_f1", "accuracy"}
    assert (workdir / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "right in every tag" in (workdir / "examples.txt").read_text()


@pytest.mark.whole
def test_a_finished_run_resumes_to_the_same_numbers(trained):
    workdir, changes, results = trained
    assert run(Config(**changes, workdir=str(workdir), resume=True)) == results


def test_a_saved_network_predicts(trained, capsys):
    main(Config(predict="Abc abc abc1 Fed fed fed1", checkpoint=str(trained[0])))
    assert capsys.readouterr().out.strip() == "Abc/B-X abc/I-X abc1/O Fed/B-X fed/I-X fed1/O"


@pytest.mark.parametrize(
    "given", [long_only(names) for names in ("word,given", "word,suffix,case,letters,given")]
)
def test_what_is_given_beside_the_words_is_read(tmp_path, given):
    data = write_columns(tmp_path / "data")
    config = {"data": str(data), "directions": "forward", "features": given, "epochs": 4}
    results = run(Config(**SMALL | config, workdir=str(tmp_path / "run")))
    assert results["test"]["lstm"]["f1"][0] > 0.98
    with pytest.raises(InputError, match="reads parts of speech beside words"):
        main(Config(predict="a b", checkpoint=str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"column": "xpos"}, "--column has no use with --data=hmm"),
        ({"output": "mean"}, "unknown name 'mean' in --output"),
        ({"features": "word"}, "--data=hmm has words alone"),
        ({"data": "nowhere", "features": "tail"}, "unknown name 'tail' in --features"),
        ({"data": "nowhere"}, "data=nowhere: give a folder with files"),
        ({"checkpoint": "x"}, "go together"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(Config(**SMALL | changes, workdir=str(tmp_path / "run")))
    assert not list(tmp_path.iterdir())


def test_the_official_baseline_of_chunking(data_dir):
    """77.07, as the shared task printed it: it proves the reading and the scoring."""
    splits = load_splits(str(data_dir / "conll2000_chunking"), "upos")
    given = baselines(splits.train + splits.validation, splits.test)
    found = scores(splits.test, given["most frequent tag of the part of speech"], chunks=True)
    assert round(100 * found["f1"], 2) == 77.07


def test_readers_know_only_what_training_shows():
    train = [TaggedSentence(("The", "cats", "The"), ("D", "N", "D"), ())]
    readers = make_readers(train, ("word", "suffix", "case", "letters"), min_count=2)
    assert readers.values[0] == ["<unk>", "The"]
    encoded = readers.encode([TaggedSentence(("The", "hats"), ("D", "N"), ())])
    assert encoded["features"].shape == (1, 2, 5)
    the, hats = encoded["features"][0]
    assert the[0] == 1
    assert hats[0] == 0
    ats = readers.values[readers.names.index("last 3")].index("ats")
    assert hats[readers.names.index("last 3")] == ats
    # h, a, t, s: letters count from 1, where 1 is unknown and 0 no letter
    assert np.all(encoded["letters"][0, 1, :4] > 1)
    assert not encoded["letters"][0, 1, 4:].any()


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("cat", "lower"),
        ("Cat", "Capital"),
        ("CAT", "UPPER"),
        ("I", "Capital"),
        ("eBay", "mIxed"),
        ("x2", "1digit"),
        ("--", "other"),
    ],
)
def test_shapes(word, shape):
    assert shape_of(word) == shape
