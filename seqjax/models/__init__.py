"""Flax NNX modules over the pure cells."""

from seqjax.models.language_model import LanguageModel, next_token_losses
from seqjax.models.rnn import RNN

__all__ = ["RNN", "LanguageModel", "next_token_losses"]
