"""Text as the ids of characters, words or parts of words, learnt from training text.

A thin layer over Hugging Face's `tokenizers`: what is learnt is one JSON text, which a run saves. Four ids
are the same for every tokenizer: PAD fills up, UNKNOWN is what training never showed, and START and
END stand around a sentence.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seqjax.errors import InputError, check_positive

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
PAD, UNKNOWN, START, END = range(len(SPECIAL))
SPACE = "▁"  # what begins a word of subwords, where the word itself is unknown
UNITS = ("subword", "word", "char")


def train_tokenizer(
    lines: Iterable[str], *, unit: str, size: int = 0, min_count: int = 1, lowercase: bool = False
) -> Tokenizer:
    """Learns a vocabulary.

    Args:
      lines: of training text.
      unit: "subword", merged pairs of letters (byte-pair encoding, Sennrich et al., 2016), punctuation
        apart; "word", words and single marks; "char".
      size: the most tokens, the special ones included; 0: 8,000 subwords, all words, all characters.
      min_count: how often a word or character must occur, or a pair of letters to be merged.
      lowercase: whether case is dropped.

    Raises:
      InputError: if the unit is unknown, or there is no text.
    """
    check_positive("min_count", min_count)
    lines = list(lines)
    if not any(line.strip() for line in lines):
        raise InputError("there is no text to learn a vocabulary from.")
    most = size or (8000 if unit == "subword" else 10**7)
    how: dict[str, Any] = {
        "vocab_size": most,
        "special_tokens": list(SPECIAL),
        "show_progress": False,
        "min_frequency": min_count,
    }
    if unit == "subword":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        spaces, marks = pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([spaces, marks])
        tokenizer.decoder = decoders.Metaspace()
        trainer: Any = trainers.BpeTrainer(**how)
    elif unit in UNITS:
        pattern = r"\w+|[^\w\s]" if unit == "word" else r"[\s\S]"
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        # (the matches are what is kept: "removed" drops all between them when inverted)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        if unit == "char":
            tokenizer.decoder = decoders.Fuse()
        trainer = trainers.WordLevelTrainer(**how)
    else:
        raise InputError(f"unit must be one of {', '.join(UNITS)}, got {unit!r}.")
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def read_tokenizer(text: str) -> Tokenizer:
    """The tokenizer that `tokenizer.to_str()` wrote.

    Raises:
      InputError: if it is none of seqjax's.
    """
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # (the library raises the base class)
        raise InputError(f"this is no tokenizer: {error}.") from error
    if [tokenizer.token_to_id(token) for token in SPECIAL] != [PAD, UNKNOWN, START, END]:
        raise InputError(f"the first tokens of a tokenizer must be {', '.join(SPECIAL)}.")
    return tokenizer


def encode(tokenizer: Tokenizer, lines: Sequence[str]) -> list[np.ndarray]:
    """The ids of each line, int32, without START and END: `</s>` in a text is a string, and unknown."""
    found = tokenizer.encode_batch(list(lines), add_special_tokens=False)
    ids = [np.array(line.ids, np.int32) for line in found]
    return [np.where(np.isin(line, (PAD, START, END)), UNKNOWN, line) for line in ids]


def has_known(tokenizer: Tokenizer, ids: np.ndarray) -> bool:
    """Whether anything of a line but its spaces is known: an unseen script is not."""
    return any(i != UNKNOWN and tokenizer.id_to_token(i) != SPACE for i in ids.tolist())


def decode(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> str:
    """The text of ids, up to the first END; special tokens are left out."""
    kept = list(map(int, ids))
    return tokenizer.decode(kept[: kept.index(END)] if END in kept else kept).strip()
