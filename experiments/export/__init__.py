"""A trained language model as StableHLO, ONNX, safetensors, or a page that writes as one types."""

from experiments.export.program import Config, run

__all__ = ["Config", "run"]
