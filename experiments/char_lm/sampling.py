"""Text that a character model writes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.char_lm.config import Config
from seqjax.data import Vocabulary
from seqjax.errors import InputError
from seqjax.training.language_modelling import make_sample, make_search
from seqjax.training.modules import split_model
from seqjax.training.saved_models import load_language_model
from seqjax.types import Params


def default_prime(data: str) -> str:
    """What a sample begins with where nothing is asked for."""
    return "\ndef " if data == "stdlib" else "\n"


def encode_prime(prime: str, data: str, vocabulary: Vocabulary) -> np.ndarray:
    """The characters that a sample begins with, as ids.

    Raises:
      InputError: if the model never saw one of them.
    """
    ids, unseen = vocabulary.encode(prime or default_prime(data))
    if unseen and prime:
        shown = ", ".join(repr(c) for c in unseen)
        raise InputError(f"--prime has characters the model never saw: {shown}.")
    return ids


def sample_text(
    config: Config,
    graphdef: Any,
    params: Params,
    vocabulary: Vocabulary,
    *,
    length: int,
    data: str = "",
) -> str:
    """The prime and what the model writes after it.

    Args:
      config: how to sample.
      graphdef: of the model.
      params: of the model.
      vocabulary: of the model.
      length: characters to write.
      data: what the model was trained on; the config's if empty.
    """
    data = data or config.data
    ids = encode_prime(config.prime, data, vocabulary)
    prime = jnp.asarray(ids)[None]
    if config.beam:
        search = make_search(graphdef, length=length, width=config.beam)
        drawn = search(params, prime).tokens[0, 0]
    else:
        names = ("temperature", "top_k", "top_p", "repetition_penalty")
        sample = make_sample(graphdef, length=length, **{n: getattr(config, n) for n in names})
        key = jax.random.fold_in(jax.random.key(config.seed), 2**31 - 1)
        drawn = sample(params, prime, key)[0]
    begin = config.prime or default_prime(data)
    return begin.lstrip("\n") + vocabulary.decode(np.asarray(drawn))


def sample_only(config: Config) -> str:
    """Generates from a checkpoint, and prints."""
    saved = load_language_model(config.checkpoint)
    if saved.vocabulary.kind != "char":
        raise InputError(f"--checkpoint={config.checkpoint} is of a model of words.")
    split = split_model(saved.model)
    text = sample_text(
        config,
        split.graphdef,
        split.params,
        saved.vocabulary,
        length=config.length,
        data=str(saved.config.get("data", "stdlib")),
    )
    print(text)
    return text
