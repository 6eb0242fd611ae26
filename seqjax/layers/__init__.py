"""Flax NNX layers over the pure cells, batch-major as Flax is; pooling and the linear-chain CRF.

A layer holds parameters and hands states on; models are made of layers. Nothing here knows of losses,
training or files.
"""

from seqjax.layers import crf, pooling
from seqjax.layers.bidirectional import Bidirectional
from seqjax.layers.rnn import RNN
from seqjax.layers.stack import Stack

__all__ = ["RNN", "Bidirectional", "Stack", "crf", "pooling"]
