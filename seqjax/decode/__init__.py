"""From a model's predictions to sequences: sampling one token at a time, and CTC's decoders.

Everything here is a function of steps and logits; no model, loss or file is known here.
"""

from seqjax.decode.sampling import generate, pick

__all__ = ["generate", "pick"]
