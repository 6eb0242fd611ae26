"""ONNX's LSTM, GRU and RNN nodes, written and read with `onnx` alone; whole models as graphs of them.

A node holds one layer in one or both directions; what stands between layers is a transposition. Nothing of a graph is
executed when it is read.
"""

from seqjax.interop.onnx.arrays import OPERATORS
from seqjax.interop.onnx.models import classifier_to_onnx, language_model_to_onnx
from seqjax.interop.onnx.reading import from_onnx
from seqjax.interop.onnx.writing import to_onnx

__all__ = ["OPERATORS", "classifier_to_onnx", "from_onnx", "language_model_to_onnx", "to_onnx"]
