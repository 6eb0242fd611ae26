"""Trees in brackets: what they say, and what is no tree."""

import gzip

import numpy as np
import pytest

from seqjax import InputError
from seqjax.data.sets.treebank import (
    leaf_words,
    load_treebank,
    parse_tree,
    read_trees,
    split_by_label,
)
from tests.support.trees import comb, random_tree

LINE = "(3 (2 It) (4 (2 's) (4 lovely)))"


def written(tree, node=None):
    """The brackets of a tree again, from the root."""
    node = len(tree.labels) - 1 if node is None else node
    children = [written(tree, c) for c in tree.children[node] if c >= 0]
    return f"({tree.labels[node]} {' '.join(children) or tree.tokens[node]})"


def test_a_tree_by_hand():
    tree = parse_tree(LINE)
    np.testing.assert_array_equal(tree.children, [[-1, -1], [-1, -1], [-1, -1], [1, 2], [0, 3]])
    assert tree.tokens.tolist() == ["It", "'s", "lovely", "", ""]
    assert tree.labels.tolist() == [2, 2, 4, 4, 3]
    assert leaf_words(tree) == ["It", "'s", "lovely"]
    np.testing.assert_array_equal(parse_tree(LINE, arity=2).children, tree.children)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_is_read(seed):
    rng = np.random.default_rng(seed)
    children = random_tree(rng, int(rng.integers(1, 40)), 4, at_least=1)

    def brackets(node):
        below = [brackets(c) for c in children[node] if c >= 0]
        return f"({rng.integers(5)} {' '.join(below) or 'w' + str(node)})"

    text = brackets(len(children) - 1)
    assert written(parse_tree(text)) == text
    spaced = text.replace("(", " ( ").replace(")", " )\t")
    assert written(parse_tree(spaced)) == text


def test_a_comb_of_depth_5000_is_read():
    text = "(1 a)"
    parts = ["(0 " * 5000, text, " (1 b))" * 5000]
    tree = parse_tree("".join(parts), arity=2)
    np.testing.assert_array_equal(tree.children, comb(5001))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "there is no tree; leave no line empty"),
        ("(2 a", "1 brackets are not closed"),
        ("(2 (1 a) (1 b)", "1 brackets are not closed"),
        ("(2 a))", "a bracket is closed that was not opened"),
        ("(2 a) (1 b)", "a second tree begins"),
        ("(2 a) b", "'b' stands outside of the brackets"),
        ("a", "'a' stands outside of the brackets"),
        ("(2)", "a node has neither word nor children"),
        ("()", "a node has neither word nor children"),
        ("(2 a b)", "a leaf has the words 'a' and 'b'"),
        ("(2 (1 a) b)", "the word 'b' stands behind children"),
        ("(2 a (1 b))", "a node has both a word and children"),
        ("((1 a) (1 b))", "a node has no label"),
        ("(x a)", "a label is a whole number from 0 to 999, got 'x'"),
        ("(-1 a)", "a label is a whole number from 0 to 999, got '-1'"),
        ("(1000 a)", "a label is a whole number"),
        ("(00000000099999 a)", "a label is a whole number"),
        ("(² a)", "a label is a whole number"),
    ],
)
def test_what_is_no_tree_is_named_with_its_line(line, sentence):
    with pytest.raises(InputError) as error:
        read_trees(f"{LINE}\n{line}\n{LINE}\n", "some.txt")
    assert str(error.value).startswith("some.txt, line 2: ")
    assert sentence in str(error.value)


@pytest.mark.parametrize("line", ["(2 (1 a))", "(2 (1 a) (1 b) (1 c))"])
def test_a_binary_cell_needs_binary_nodes(line):
    assert len(read_trees(line, "x")) == 1
    with pytest.raises(
        InputError, match=r"x, line 1: a node has \d children, and this cell joins 2"
    ):
        read_trees(line, "x", arity=2)


def write(directory, **splits):
    for name, text in splits.items():
        if name == "train":
            (directory / "my.train.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (directory / f"{name}.trees").write_text(text, encoding="utf-8")


def test_files_plain_and_packed(tmp_path):
    write(tmp_path, train=f"{LINE}\n(0 bad)\n", dev=LINE, test="(2 tea)\n")
    bank = load_treebank(tmp_path)
    assert [len(s) for s in bank[:3]] == [2, 1, 1]
    assert bank.test[0].tokens.tolist() == ["tea"]
    digest = bank.digest
    write(tmp_path, dev="(2 tea)")
    assert load_treebank(tmp_path).digest != digest


def test_files_that_are_missing_or_wrong(tmp_path):
    with pytest.raises(InputError, match="there is no directory"):
        load_treebank(tmp_path / "none")
    with pytest.raises(InputError, match="holds 0 files with 'train'"):
        load_treebank(tmp_path)
    write(tmp_path, train=LINE, dev=LINE, test=f"{LINE}\n(7 odd)\n")
    with pytest.raises(
        InputError, match=r"test.trees, line 2: the label 7 does not occur in train"
    ):
        load_treebank(tmp_path)
    (tmp_path / "dev2.txt").write_text(LINE)
    with pytest.raises(InputError, match="holds 2 files with 'dev'"):
        load_treebank(tmp_path)


def test_two_classes_leave_out_neutral_roots_and_nodes():
    trees = [parse_tree(t) for t in (LINE, "(2 (4 a) (0 b))", "(1 (2 a) (0 b))")]
    kept = split_by_label(trees, neutral=2)
    assert [t.labels.tolist() for t in kept] == [[-1, -1, 1, 1, 1], [-1, 0, 0]]


def test_the_stanford_sentiment_treebank(data_dir):
    path = data_dir / "sst_trees"
    if not path.is_dir():
        pytest.skip("no sst_trees")
    bank = load_treebank(path, arity=2)
    assert [len(split) for split in bank[:3]] == [8544, 1101, 2210]
    assert [sum(len(t.labels) for t in s) for s in bank[:3]] == [317712, 41325, 82362]
    roots = np.bincount([tree.labels[-1] for tree in bank.test])
    assert roots.tolist() == [279, 633, 390, 509, 399]
    assert [len(split_by_label(s, 2)) for s in bank[:3]] == [6920, 872, 1820]
    first = (path / "sst.dev.trees.txt").read_text(encoding="utf-8").splitlines()[0]
    assert written(bank.dev[0]) == first


def test_a_word_may_hold_a_space_that_does_not_break():
    assert leaf_words(parse_tree("(2 (1 8\N{NO-BREAK SPACE}1/2) (3 hours))")) == [
        "8\N{NO-BREAK SPACE}1/2",
        "hours",
    ]
