"""Trees in the brackets of the Penn Treebank, a label at every node (Socher et al., 2013).

    (3 (2 It) (4 (2 's) (4 lovely)))

One tree a line. A node is `(label word)`, a leaf, or `(label node node ...)`; labels are whole numbers
from 0. The Stanford Sentiment Treebank has 0 for very negative to 4 for very positive.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.errors import InputError, shown
from seqjax.files.text import read_text
from seqjax.types import Tree

SPLITS = ("train", "dev", "test")
LARGEST_FILE = 1 << 28  # bytes
MOST_LABELS = 1000
_TOKEN = re.compile(
    r"[()]|[^()\t-\r ]+"
)  # a word may hold the other white space of Unicode, as "8 1/2"


class Treebank(NamedTuple):
    train: list[Tree]
    dev: list[Tree]
    test: list[Tree]
    digest: str  # SHA-256, tells one treebank from every other


def load_treebank(path: str | Path, *, arity: int = 0) -> Treebank:
    """Reads the three files of a treebank.

    Args:
      path: a directory that holds one file for each of train, dev and test, plain or .gz, whose name has
        that word in it: `sst.train.trees.txt.gz`, `dev.txt`, ...
      arity: the number of children that every inner node must have; 0 for any.

    Raises:
      InputError: if a file is missing or is not of that form, or a label does not occur in training; it
        names the file and the line.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"there is no directory {root}.")
    sums, trees, files = hashlib.sha256(), {}, {}
    for split in SPLITS:
        files[split] = _find(root, split)
        text = read_text(files[split], LARGEST_FILE)
        sums.update(hashlib.sha256(text.encode()).digest())
        trees[split] = read_trees(text, str(files[split]), arity=arity)
    known = {label for tree in trees["train"] for label in tree.labels.tolist()}
    for split in SPLITS[1:]:
        for number, tree in enumerate(trees[split], 1):
            if unseen := set(tree.labels.tolist()) - known:
                raise InputError(
                    f"{files[split]}, line {number}: the label {min(unseen)} does not occur in training,"
                    f" whose labels are {', '.join(map(str, sorted(known)))}."
                )
    return Treebank(**trees, digest=sums.hexdigest())


def read_trees(text: str, where: str, *, arity: int = 0) -> list[Tree]:
    """The trees of a text, one a line.

    Args:
      text: the lines.
      where: what errors call it, such as the name of its file.
      arity: as of `load_treebank`.

    Raises:
      InputError: if a line is no tree; it names the line.
    """
    lines = text.removesuffix("\n").split("\n")
    return [parse_tree(line, f"{where}, line {n}", arity=arity) for n, line in enumerate(lines, 1)]


def parse_tree(text: str, where: str = "the tree", *, arity: int = 0) -> Tree:
    """One tree from its brackets, in post-order; no tree is too deep.

    Raises:
      InputError: if the text is no tree, or an inner node has not `arity` children, unless that is 0.
    """
    builder = _Builder(where, arity)
    for token in _TOKEN.findall(text):
        match token:
            case "(":
                builder.open()
            case ")":
                builder.close()
            case _:
                builder.name(token)
    return builder.tree()


def leaf_words(tree: Tree) -> list[str]:
    """The words of the leaves, from left to right."""
    return [word for word in tree.tokens if word]


class _Open(NamedTuple):
    """A bracket that is not closed yet."""

    names: list[str]  # its label, and its word if it is a leaf
    children: list[int]


class _Builder:
    """A tree in the making: the brackets that are open, and the nodes that are done."""

    def __init__(self, where: str, arity: int):
        self.where, self.arity = where, arity
        self.stack: list[_Open] = []
        self.children: list[list[int]] = []
        self.tokens: list[str] = []
        self.labels: list[int] = []

    def open(self) -> None:
        if not self.stack and self.labels:
            self.fail("a second tree begins behind the first; write one tree a line")
        if self.stack and len(self.stack[-1].names) != 1:
            problem = "has both a word and children" if self.stack[-1].names else "has no label"
            self.fail(f"a node {problem}; write (label word) or (label node node)")
        self.stack.append(_Open([], []))

    def name(self, token: str) -> None:
        if not self.stack:
            self.fail(f"{shown(token)} stands outside of the brackets")
        node = self.stack[-1]
        if node.children:
            self.fail(f"the word {shown(token)} stands behind children; a word needs (label word)")
        if len(node.names) == 2:
            self.fail(
                f"a leaf has the words {node.names[1]!r:.30} and {token!r:.30}; it has one word"
            )
        is_number = token.isascii() and token.isdigit() and len(token) < 10
        if not node.names and not (is_number and int(token) < MOST_LABELS):
            self.fail(f"a label is a whole number from 0 to {MOST_LABELS - 1}, got {shown(token)}")
        node.names.append(token)

    def close(self) -> None:
        if not self.stack:
            self.fail("a bracket is closed that was not opened")
        names, children = self.stack.pop()
        if len(names) + len(children) < 2:
            self.fail(
                "a node has neither word nor children; write (label word) or (label node node)"
            )
        if children and self.arity and len(children) != self.arity:
            self.fail(
                f"a node has {len(children)} children, and this cell joins {self.arity}; binarise the"
                " trees or take a cell for any number of children"
            )
        self.children.append(children)
        self.tokens.append(names[1] if len(names) == 2 else "")
        self.labels.append(int(names[0]))
        if self.stack:
            self.stack[-1].children.append(len(self.labels) - 1)

    def tree(self) -> Tree:
        if self.stack:
            self.fail(f"{len(self.stack)} brackets are not closed")
        if not self.labels:
            self.fail("there is no tree; leave no line empty")
        most = max(1, self.arity, max(map(len, self.children)))
        children = np.full((len(self.labels), most), -1, np.int32)
        for node, below in enumerate(self.children):
            children[node, : len(below)] = below
        return Tree(children, np.array(self.tokens), np.array(self.labels, np.int32))

    def fail(self, problem: str) -> None:
        raise InputError(f"{self.where}: {problem}.")


def split_by_label(trees: Sequence[Tree], neutral: int) -> list[Tree]:
    """The binary form of a treebank: trees with a neutral root are left out.

    Labels below `neutral` become 0, those above it 1; a neutral node has the label -1, which counts for
    nothing.
    """
    binary = []
    for tree in trees:
        if tree.labels[-1] != neutral:
            labels = np.where(tree.labels == neutral, -1, (tree.labels > neutral).astype(np.int32))
            binary.append(tree._replace(labels=labels))
    return binary


def _find(root: Path, split: str) -> Path:
    suffixes = (".txt", ".gz", ".trees", "")
    files = sorted(
        p
        for p in root.iterdir()
        if split in p.name.lower() and p.is_file() and p.suffix in suffixes
    )
    if len(files) != 1:
        raise InputError(
            f"{root} holds {len(files)} files with {split!r} in their name; a treebank has one for each of"
            f" {', '.join(SPLITS)}."
        )
    return files[0]
