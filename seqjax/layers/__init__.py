"""Flax NNX layers over the pure cells, batch-major as Flax is; attention, pooling, linear-chain CRF.

A layer holds parameters and hands states on; models are made of layers. Nothing here knows of losses,
training or files.
"""

from seqjax.layers import crf, noise, pooling
from seqjax.layers.attention import Attention
from seqjax.layers.batch_norm import BatchNormLSTM
from seqjax.layers.bidirectional import Bidirectional
from seqjax.layers.rnn import RNN
from seqjax.layers.stack import Stack

__all__ = ["RNN", "Attention", "BatchNormLSTM", "Bidirectional", "Stack", "crf", "noise", "pooling"]
