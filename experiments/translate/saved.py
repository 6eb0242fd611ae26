"""Translating by a saved network: one line, or each line that is typed."""

import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from experiments.common.saved_networks import SavedNetwork, best_network
from experiments.translate.config import READS, Config
from experiments.translate.decoding import search
from experiments.translate.network import Kind, lengths_of, make_model
from seqjax.data.tokens import UNKNOWN, decode, encode, has_known, read_tokenizer
from seqjax.decode import Beams
from seqjax.errors import InputError
from seqjax.models import EncoderDecoder
from seqjax.training.modules import merge_model, split_model


class Translator(NamedTuple):
    """A network that was saved, with its vocabularies."""

    model: EncoderDecoder
    source: Tokenizer
    target: Tokenizer
    config: Config  # of its run
    exact: bool  # whether it was trained on a task with one right answer


def load_translator(checkpoint: str) -> Translator:
    """The best network of a run, or that of one network's directory.

    Raises:
      InputError: if there is none, or what was saved with it is not of this program.
    """
    saved: SavedNetwork = best_network(checkpoint)
    config = saved.config(Config)
    tokenizers = [read_tokenizer(text) for text in saved.strings("tokenizers")]
    if len(tokenizers) != 2:
        raise InputError(f"{saved.where} must have two tokenizers, it has {len(tokenizers)}.")
    kind = Kind(**saved.choices("kind", {"attention": READS}))
    source, target = tokenizers
    sizes = source.get_vocab_size(), target.get_vocab_size()
    model = saved.restore(lambda: make_model(config, kind, sizes, seed=0))
    return Translator(model, source, target, config, bool(saved.strings("exact")))


def translate_line(config: Config) -> list[str]:
    """Prints the best translations of --translate, as many as --beam, each with its log-probability."""
    translator = load_translator(config.checkpoint)
    found = _translations(config, translator, make_search(config, translator), config.translate)
    for text, log_prob in found:
        print(f"{log_prob:8.3f}  {text}")
    return [text for text, _ in found]


def translate_lines(config: Config) -> None:
    """Prints the best translation of each line of the standard input, as the lines come."""
    translator = load_translator(config.checkpoint)
    find = make_search(config, translator)
    for line in sys.stdin:
        if not line.strip():
            print(flush=True)
            continue
        try:
            print(_translations(config, translator, find, line.strip())[0][0], flush=True)
        except InputError as error:  # the next line may be a better one
            print(error, file=sys.stderr, flush=True)


def make_search(config: Config, translator: Translator) -> Any:
    """Builds `search(source [1, S]) -> Beams`, compiled for sources of one length."""
    split = split_model(translator.model)
    how = {"length_penalty": config.length_penalty, "alpha": config.alpha}

    @jax.jit
    def find(params: Any, source: Any) -> Beams:
        model = merge_model(split, params)
        length = translator.config.max_length
        return search(model, source, lengths_of(source), width=config.beam, length=length, **how)

    return lambda source: find(split.params, source)


def _translations(
    config: Config, translator: Translator, find: Any, line: str
) -> list[tuple[str, float]]:
    """The best translations of a line with their log-probabilities, in nats."""
    (ids,) = encode(translator.source, [line])
    longest = translator.config.max_length
    if not has_known(translator.source, ids):
        raise InputError(f"training never showed anything of this text: {line!r:.80}.")
    if len(ids) > longest:
        raise InputError(f"the text has {len(ids)} tokens; the network reads at most {longest}.")
    unknown = int((ids == UNKNOWN).sum())
    if unknown:
        print(f"{unknown} of {len(ids)} tokens are unknown", file=sys.stderr)
    source = np.zeros((1, longest), np.int32)
    source[0, : len(ids)] = ids
    beams = jax.device_get(find(source))
    return [
        (decode(translator.target, tokens[:length]), float(log_prob))
        for tokens, length, log_prob in zip(
            beams.tokens[0], beams.lengths[0], beams.log_probs[0], strict=True
        )
        if length
    ]
