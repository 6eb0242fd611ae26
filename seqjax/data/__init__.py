"""Data: text, vocabularies, and batches that are pure functions of the step."""

from seqjax.data.batches import Rows, TokenBatch, batch_at, evaluation_rows, training_rows
from seqjax.data.text import TextSplits, load_text
from seqjax.data.vocabulary import Vocabulary, build_vocabulary

__all__ = [
    "Rows",
    "TextSplits",
    "TokenBatch",
    "Vocabulary",
    "batch_at",
    "build_vocabulary",
    "evaluation_rows",
    "load_text",
    "training_rows",
]
