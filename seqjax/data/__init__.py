"""Data: text, speech, handwriting, vocabularies, and batches that are pure functions of the step."""

from seqjax.data.batches import Rows, TokenBatch, batch_at, evaluation_rows, training_rows
from seqjax.data.sequences import Example, Sequences, normalised
from seqjax.data.sets.handwriting import load_iam_ondb, load_unipen
from seqjax.data.sets.speech import load_fsdd, load_timit
from seqjax.data.text import TextSplits, load_text
from seqjax.data.vocabulary import Vocabulary, build_vocabulary

__all__ = [
    "Example",
    "Rows",
    "Sequences",
    "TextSplits",
    "TokenBatch",
    "Vocabulary",
    "batch_at",
    "build_vocabulary",
    "evaluation_rows",
    "load_fsdd",
    "load_iam_ondb",
    "load_text",
    "load_timit",
    "load_unipen",
    "normalised",
    "training_rows",
]
