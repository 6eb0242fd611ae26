"""Every tree cell by name. `TREE_CELLS` feeds the flags and the tests."""

from collections.abc import Callable

from seqjax.tree_cells.child_sum import child_sum_tree_lstm
from seqjax.tree_cells.rntn import rntn
from seqjax.tree_cells.tree_lstm import tree_lstm
from seqjax.tree_cells.tree_rnn import tree_rnn
from seqjax.types import TreeCell

TREE_CELLS: dict[str, Callable[..., TreeCell]] = {
    "tree_lstm": tree_lstm,
    "child_sum": child_sum_tree_lstm,
    "rnn": tree_rnn,
    "rntn": rntn,
}
