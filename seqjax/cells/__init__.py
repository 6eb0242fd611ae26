"""Recurrent cells: one file each, the equations of a paper and nothing else.

`CELLS` names every one. A cell is built by the function of its name, `seqjax.lstm(128)`; the module
`seqjax.cells.lstm` holds that function, the state and the gates. Nothing here knows of time,
lengths, noise, training or files.
"""

from seqjax.cells.gru import GRUState
from seqjax.cells.lstm import LSTMState
from seqjax.cells.lstm_fgr import FGRState
from seqjax.cells.lstm_variants import Variant
from seqjax.cells.rnn import RNNState
from seqjax.cells.table import CELLS

__all__ = ["CELLS", "FGRState", "GRUState", "LSTMState", "RNNState", "Variant"]
