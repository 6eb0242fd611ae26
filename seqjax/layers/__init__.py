"""Flax NNX layers over the pure cells, batch-major as Flax is.

A layer holds parameters and hands states on; models are made of layers. Nothing here knows of losses,
training or files.
"""

from seqjax.layers.rnn import RNN

__all__ = ["RNN"]
