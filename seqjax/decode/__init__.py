"""From a model's predictions to sequences: sampling one token at a time, beam search, and CTC's decoders.

Everything here is a function of steps and logits; no model, loss or file is known here.
"""

from seqjax.decode.beam import Beams, beam_search
from seqjax.decode.sampling import generate, pick

__all__ = ["Beams", "beam_search", "generate", "pick"]
