"""Data: text, speech, handwriting, vocabularies, and batches that are pure functions of the step."""

from seqjax.data.batches import Rows, TokenBatch, batch_at, evaluation_rows, training_rows
from seqjax.data.sequences import Example, Sequences, normalised
from seqjax.data.sets.columns import read_columns, read_conllu
from seqjax.data.sets.handwriting import load_iam_ondb, load_unipen
from seqjax.data.sets.sentences import load_sentences
from seqjax.data.sets.speech import load_fsdd, load_timit
from seqjax.data.sets.treebank import load_treebank
from seqjax.data.text import TextSplits, load_text
from seqjax.data.vectors import load_vectors
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
    "load_sentences",
    "load_text",
    "load_timit",
    "load_treebank",
    "load_unipen",
    "load_vectors",
    "normalised",
    "read_columns",
    "read_conllu",
    "training_rows",
]
