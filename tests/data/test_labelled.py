"""Readers of labelled sentences and columns, word vectors, and the order of batches."""

import gzip
import json

import numpy as np
import pytest

from seqjax import InputError
from seqjax.data.orders import order_by_length, padded, take
from seqjax.data.sets.columns import read_columns, read_conllu
from seqjax.data.sets.sentences import load_sentences, read_lines, tokenise
from seqjax.data.vectors import load_vectors
from seqjax.data.vocabulary import END_OF_SENTENCE, split_words

CONLLU = """# text = I don't
1\tI\tI\tPRON\tPRP\t_\t3\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t0\troot\t_\t_
3.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_

1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_with_a_label_in_three_files(tmp_path):
    for split, text in {"train": "1 a b\n0 c\n", "dev": "0 a\n", "test": "1 c c c\n"}.items():
        write(tmp_path / f"set.{split}", text)
    write(tmp_path / "other.train", "x y\n")
    splits = load_sentences(str(tmp_path / "set"))
    assert splits.train == [(("a", "b"), "1"), (("c",), "0")]
    assert splits.validation == [(("a",), "0")]
    assert splits.test == [(("c", "c", "c"), "1")]
    assert splits.labels == ("0", "1")
    with pytest.raises(InputError, match=r"other.train and set.train are all of the split train"):
        load_sentences(str(tmp_path))


def test_a_file_for_each_class_and_splits_that_are_drawn(tmp_path):
    write(tmp_path / "reviews.pos", "".join(f"good {i}\n" for i in range(50)))
    (tmp_path / "reviews.neg").write_bytes(b"caf\xe9 bad\n" * 50)  # cp1252
    splits = load_sentences(str(tmp_path))
    assert list(map(len, splits[:3])) == [81, 9, 10]
    together = [s.words for split in splits[:3] for s in split if s.label == "pos"]
    assert sorted(together) == sorted(("good", str(i)) for i in range(50))
    assert any(s.words == ("café", "bad") for s in splits.train)
    assert splits == load_sentences(str(tmp_path))


def test_one_file_of_labelled_lines_is_divided(tmp_path):
    path = write(tmp_path / "reviews.txt", "".join(f"{i % 2} word{i}\n" for i in range(50)))
    splits = load_sentences(str(path))
    assert list(map(len, splits[:3])) == [41, 4, 5]  # a tenth, and a tenth of the rest
    write(path, "1 a\n\n")
    with pytest.raises(InputError, match=r"reviews.txt, line 2: write a label"):
        load_sentences(str(path))


def test_json_lines_are_cut_into_words(tmp_path):
    row = {"text": "It's <br /> GOOD, isn't it?", "label": 1}
    other = {"text": "no", "label": 0}
    for split in ("train", "test"):
        with gzip.open(tmp_path / f"r.{split}.jsonl.gz", "wt") as file:
            file.write(json.dumps(row) + "\n" + json.dumps(other) + "\n" * 2)
    splits = load_sentences(str(tmp_path / "r"), held_out=0.5)
    assert splits.test[0].words == ("it's", "good", ",", "isn't", "it", "?")
    assert tokenise("<br>") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a\n\n0 b\n", "t.train, line 2: write a label and then words, got ''"),
        ("1 a\n0\n", "t.train, line 2: write a label"),
        ("1 a\n1 b\n", "every training sentence has the label '1'"),
        ("", "there is no training sentence"),
    ],
)
def test_bad_lines_name_file_and_line(tmp_path, text, message):
    write(tmp_path / "t.train", text)
    write(tmp_path / "t.test", "1 a\n")
    with pytest.raises(InputError, match=message):
        load_sentences(str(tmp_path / "t"))


def test_a_label_that_training_never_shows(tmp_path):
    write(tmp_path / "t.train", "1 a\n0 b\n")
    write(tmp_path / "t.test", "2 c d\n")
    with pytest.raises(InputError, match=r"a test sentence has the label '2', .*'c d'"):
        load_sentences(str(tmp_path / "t"), held_out=0.5)


@pytest.mark.parametrize("line", ["[1", '{"text": 3, "label": 1}', '{"text": "a"}', "[" * 10**5])
def test_bad_json_names_file_and_line(tmp_path, line):
    write(tmp_path / "t.train.jsonl", '{"text": "a", "label": 1}\n' + line)
    with pytest.raises(InputError, match=r"t.train.jsonl, line 2"):
        load_sentences(str(tmp_path / "t"))


@pytest.mark.parametrize("source", ["", "nowhere/at/all", "\0", "a" * 5000])
def test_no_such_files(source):
    with pytest.raises(InputError, match="data="):
        load_sentences(source)


def test_columns(tmp_path):
    path = write(tmp_path / "c.txt", "-DOCSTART- x\n\nEU NNP B-ORG\nsays VBZ O\n\t\nNo DT O\n")
    first, second = read_columns(path, given=1)
    assert first == (("EU", "says"), ("B-ORG", "O"), ("NNP", "VBZ"))
    assert second.words == ("No",)
    assert read_columns(path, tags=1)[0].tags == ("NNP", "VBZ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a B\nc D E\n", "c.txt, line 2: 3 columns, but 2 in the lines before"),
        ("a\n", "c.txt, line 1: column -1 is asked for"),
        ("\n\n", "has no sentence"),
    ],
)
def test_bad_columns_name_file_and_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_columns(write(tmp_path / "c.txt", text))


def test_conllu_without_ranges_and_empty_nodes(tmp_path):
    path = write(tmp_path / "u.conllu", CONLLU)
    first, second = read_conllu(path)
    assert first == (("I", "do", "n't"), ("PRON", "AUX", "PART"), ())
    assert second.tags == ("INTJ",)
    assert read_conllu(path, column="xpos")[0].tags == ("PRP", "VBP", "RB")
    with pytest.raises(InputError, match="column must be upos or xpos"):
        read_conllu(path, column="lemma")
    with pytest.raises(InputError, match=r"bad.conllu, line 1: CoNLL-U has 10 columns"):
        read_conllu(write(tmp_path / "bad.conllu", "1 a b\n"))


def test_vectors_of_words_and_of_their_lower_case(tmp_path):
    path = write(tmp_path / "v.txt", "2 3\nthe 1 2 3\nCat 4 5 6\ncat 7 8 9\n")
    for_text = load_vectors(path, ["The", "Cat", "dog"])
    words = write(tmp_path / "words.txt", "the\nCat\ncat\n")
    assert words.is_file()
    np.savez(tmp_path / "v.npz", vectors=np.arange(1, 10).reshape(3, 3).astype(np.float16))
    for values, known in (for_text, load_vectors(tmp_path / "v.npz", ["The", "Cat", "dog"])):
        np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, 6], [0, 0, 0]])
        assert known.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", "v.txt, line 2: 1 numbers, but 2"),
        ("a 1 x\n", "v.txt, line 1"),
        ("b 1 2\n", "has no vector of any"),
    ],
)
def test_bad_vectors(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_vectors(write(tmp_path / "v.txt", text), ["a"])


def test_vectors_that_do_not_fit_their_words(tmp_path):
    write(tmp_path / "words.txt", "a\n")
    np.savez(tmp_path / "v.npz", vectors=np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"words.txt beside it has 1 words"):
        load_vectors(tmp_path / "v.npz", ["a"])
    np.savez(tmp_path / "v.npz", vectors=np.array([{}], object))
    with pytest.raises(InputError, match="must have 2 axes of float32 or float16 or float64"):
        load_vectors(tmp_path / "v.npz", ["a"])


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (7, 3), (1000, 8)])
def test_every_example_comes_once_in_batches_of_like_lengths(count, batch_size):
    lengths = np.random.default_rng(0).integers(1, 50, size=count)
    order = order_by_length(lengths, batch_size, seed=1, epoch=2)
    assert order.shape == (-(-count // batch_size), batch_size)
    assert sorted(order[order >= 0].tolist()) == list(range(count))
    np.testing.assert_array_equal(order, order_by_length(lengths, batch_size, seed=1, epoch=2))
    if count > 100:
        others = [
            order_by_length(lengths, batch_size, seed=s, epoch=e) for s, e in ((1, 3), (2, 2))
        ]
        assert all(np.any(order != other) for other in others)
        padding = [lengths[rows].max() * len(rows) - lengths[rows].sum() for rows in order]
        chance = np.random.default_rng(0).permutation(count).reshape(-1, batch_size)
        worse = [lengths[rows].max() * len(rows) - lengths[rows].sum() for rows in chance]
        assert sum(padding) < 0.2 * sum(worse)


def test_a_batch_says_which_of_its_rows_are_examples():
    arrays = {"x": np.arange(5) * 10}
    order = np.array([[3, 1], [4, -1]], np.int32)
    rows, real = take(arrays, order, 3)
    assert rows["x"].tolist() == [40, 0]
    assert real.tolist() == [True, False]


def test_padded():
    rows = padded([np.ones((2, 3), np.int32), np.ones((1, 3), np.int32)], fill=7)
    assert rows.shape == (2, 2, 3)
    assert rows[1, 1].tolist() == [7, 7, 7]


def test_real_sets_have_their_published_sizes(data_dir):
    sst = load_sentences(str(data_dir / "sst_sentences" / "stsa.binary"))
    assert list(map(len, sst[:3])) == [6920, 872, 1821]
    movies = load_sentences(str(data_dir / "rt_polarity"))
    assert sum(map(len, movies[:3])) == 10662
    assert len(read_lines(data_dir / "sst_sentences" / "stsa.fine.test")) == 2210
    chunks = read_columns(data_dir / "conll2000_chunking" / "test.txt", given=1)
    assert (len(chunks), sum(len(s.words) for s in chunks)) == (2012, 47377)
    ewt = read_conllu(data_dir / "ud_english_ewt" / "en_ewt-ud-test.conllu.gz")
    assert (len(ewt), sum(len(s.words) for s in ewt)) == (2077, 25094)


def test_only_a_line_feed_ends_a_line(tmp_path):
    path = write(tmp_path / "set.txt", "0 a fine\u2028film\n1 bad\x85thing\x0chere\n" * 10)
    splits = load_sentences(str(path))
    assert splits.labels == ("0", "1")
    assert sum(map(len, splits[:3])) == 20
    assert split_words("a b\u2028c d\x0ce\n\nf\n").count(END_OF_SENTENCE) == 2


def test_a_word_of_vectors_may_have_spaces(tmp_path):
    path = write(tmp_path / "v.txt", "the 1 2 3\nat name@domain.com 4 5 6\nat 7 8 9\n")
    values, known = load_vectors(path, ["at", "at name@domain.com"])
    np.testing.assert_array_equal(values, [[7, 8, 9], [4, 5, 6]])
    assert known.all()


def test_vectors_are_no_bomb(tmp_path):
    write(tmp_path / "words.txt", "a\n")
    np.savez(tmp_path / "v.npz", vectors=np.zeros((1, 3), np.float32))
    data = (tmp_path / "v.npz").read_bytes().replace(b"(1, 3)", b"(9, 3)")
    (tmp_path / "v.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"says shape \(9, 3\)|no sound .npz file"):
        load_vectors(tmp_path / "v.npz", ["a"])
