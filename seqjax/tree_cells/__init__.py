"""Cells that compose children: one file each, the equations of a paper and nothing else.

`TREE_CELLS` names every one. `seqjax.recurrence.tree.compose` runs any of them over a batch of trees; a
cell sees one node, and knows nothing of batches, models or training.
"""

from seqjax.tree_cells.table import TREE_CELLS
from seqjax.tree_cells.tree_lstm import TreeLSTMState
from seqjax.tree_cells.tree_rnn import TreeRNNState

__all__ = ["TREE_CELLS", "TreeLSTMState", "TreeRNNState"]
