"""Pairs of strings, as tokens and as arrays."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from experiments.common.labelling import BUCKETS, Sets, make_sets
from experiments.translate.config import Config
from seqjax.data.orders import padded
from seqjax.data.sets.parallel import Pair, ParallelSplits, load_parallel
from seqjax.data.tokens import END, START, encode, train_tokenizer
from seqjax.errors import InputError
from seqjax.tasks.rewriting import rewriting
from seqjax.training.labelling import Labelled

HELD_OUT = 1000  # pairs of a task, in validation and in test


class Text(NamedTuple):
    name: str
    exact: bool  # whether each source has one right answer
    splits: ParallelSplits
    source: Tokenizer
    target: Tokenizer
    sets: Sets
    num_cut: int  # training pairs of which a side was longer than --max_length

    def identity(self) -> dict[str, Any]:
        """What a saved network cannot be read without, and must have been trained on."""
        digest = hashlib.sha256(repr(self.splits).encode("utf-8", "surrogatepass")).hexdigest()
        tokenizers = [self.source.to_str(), self.target.to_str()]
        return {"text": digest, "tokenizers": tokenizers, "exact": [self.name] * self.exact}

    def summary(self) -> str:
        """One line about it."""
        sizes = "/".join(f"{len(split):,}" for split in self.splits)
        tokens = f"{self.source.get_vocab_size():,} and {self.target.get_vocab_size():,} tokens"
        cut = f", {self.num_cut:,} pairs cut" if self.num_cut else ""
        return f"{self.name}: {sizes} pairs, {tokens}{cut}"


def load_texts(config: Config) -> list[Text]:
    """What the config names: tasks, or the parallel text of a folder."""
    if not config.tasks():
        names = config.source, config.target
        splits = load_parallel(config.data, *names, test=config.test)
        return [_text(config, " to ".join(names), splits, exact=False)]
    texts = []
    for task in config.tasks():
        counts = config.examples, HELD_OUT, HELD_OUT
        drawn = [
            [Pair(*p) for p in rewriting(task, count, longest=config.longest, seed=seed)]
            for seed, count in enumerate(counts)
        ]
        texts.append(_text(config, task, ParallelSplits(*drawn), exact=True))
    return texts


def _text(config: Config, name: str, splits: ParallelSplits, *, exact: bool) -> Text:
    how: dict[str, Any] = {"unit": "char"}
    if not exact:
        how = {"unit": config.unit, "size": config.vocab_size, "min_count": config.min_count}
        how["lowercase"] = config.lowercase
    source = train_tokenizer((pair.source for pair in splits.train), **how)
    target = train_tokenizer((pair.target for pair in splits.train), **how)
    arrays, cut = [], []
    for split in splits:
        inputs, outputs = sides = (
            encode(source, [pair.source for pair in split]),
            encode(target, [pair.target for pair in split]),
        )
        longest = [max(map(len, pair)) for pair in zip(*sides, strict=True)]
        cut.append(sum(length > config.max_length for length in longest))
        arrays.append(as_arrays(inputs, outputs, longest=config.max_length))
    if cut[0] and config.too_long == "refuse":
        raise InputError(
            f"{cut[0]:,} training pairs are longer than --max_length={config.max_length} tokens: leave"
            " them out, raise it, or write --too_long=cut."
        )
    # (short strings are computed in less time than a second program is compiled in)
    sets = make_sets(arrays[0], arrays[1], arrays[2], buckets=1 if exact else BUCKETS)
    return Text(name, exact, splits, source, target, sets, cut[0])


def as_arrays(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], *, longest: int
) -> Labelled:
    """Sources, what the decoder reads, and what it must write; each cut to `longest` tokens.

    The length of an example is that of the longer side.
    """
    sources = [row[:longest] if len(row) else np.array([END], np.int32) for row in sources]
    targets = [row[:longest] for row in targets]
    read = [np.concatenate([[START], row]).astype(np.int32) for row in targets]
    written = [np.concatenate([row, [END]]).astype(np.int32) for row in targets]
    lengths = [max(map(len, sides)) for sides in zip(sources, read, strict=True)]
    width = max(lengths)

    def to_width(rows: Sequence[np.ndarray]) -> np.ndarray:
        array = padded(list(rows))
        return np.pad(array, [(0, 0), (0, width - array.shape[1])])

    inputs = {"source": to_width(sources), "target": to_width(read)}
    return Labelled(inputs, np.array(lengths, np.int32), to_width(written))
