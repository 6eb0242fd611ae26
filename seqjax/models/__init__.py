"""Whole models, one file each: Flax NNX modules made of layers and cells, and n-gram counts.

A model maps inputs to outputs. Its loss, its training and its files live elsewhere.
"""

from seqjax.models.captioner import Captioner
from seqjax.models.classifier import SequenceClassifier
from seqjax.models.decoder import Decoder
from seqjax.models.encoder_decoder import EncoderDecoder
from seqjax.models.frame_labeller import FrameLabeller
from seqjax.models.image_encoder import ImageEncoder
from seqjax.models.language_model import LanguageModel
from seqjax.models.ngram import witten_bell
from seqjax.models.question_answerer import QuestionAnswerer
from seqjax.models.tagger import Feature, SequenceTagger
from seqjax.models.tree_network import TreeNetwork

__all__ = [
    "Captioner",
    "Decoder",
    "EncoderDecoder",
    "Feature",
    "FrameLabeller",
    "ImageEncoder",
    "LanguageModel",
    "QuestionAnswerer",
    "SequenceClassifier",
    "SequenceTagger",
    "TreeNetwork",
    "witten_bell",
]
