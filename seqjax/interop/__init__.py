"""In and out: weights of torch, Keras, ONNX and safetensors, cells of other JAX libraries, exported programs.

Every module needs its library, and no more: `seqjax.interop.flax` Flax, `seqjax.interop.keras` h5py. Nothing of a
stranger's file is executed, and nothing here trains.
"""

from seqjax.interop.exporting import (
    export_sequence,
    export_step,
    export_token_step,
    first_leaves,
    register_states,
)
from seqjax.interop.keras import from_keras, read_keras, to_keras
from seqjax.interop.onnx import (
    classifier_to_onnx,
    from_onnx,
    language_model_to_onnx,
    to_onnx,
)
from seqjax.interop.safetensors import read_safetensors, write_safetensors
from seqjax.interop.torch import from_torch, to_torch
from seqjax.interop.weights import Layers

__all__ = [
    "Layers",
    "classifier_to_onnx",
    "export_sequence",
    "export_step",
    "export_token_step",
    "first_leaves",
    "from_keras",
    "from_onnx",
    "from_torch",
    "language_model_to_onnx",
    "read_keras",
    "read_safetensors",
    "register_states",
    "to_keras",
    "to_onnx",
    "to_torch",
    "write_safetensors",
]
