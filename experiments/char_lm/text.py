"""The text of a character model: its characters as ids, and the n-gram model of it."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.char_lm.config import Config
from experiments.common.language_models import Data, digest_of
from seqjax.data import build_vocabulary, evaluation_rows, load_text, training_rows
from seqjax.data.shards import MANIFEST, Shards, Windows
from seqjax.models import witten_bell

MOST_HELD_OUT = 1_000_000  # characters of a text in shards


def load_data(config: Config) -> Data:
    """The text that the config names; prints which characters training never shows."""
    if (Path(config.data).expanduser() / MANIFEST).is_file():
        return load_shards(config)
    splits = load_text(
        config.data,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        max_chars=config.max_chars,
        leave_out=config.workdir,
    )
    vocabulary = build_vocabulary("char", splits.train)
    streams = {}
    for split, text in splits._asdict().items():
        streams[split], unseen = vocabulary.encode(text)
        if unseen:
            shown = ", ".join(f"{c!r} {n}x" for c, n in unseen.most_common(5))
            print(
                f"{split}: {sum(unseen.values())} characters of {len(unseen)} kinds that training"
                f" never shows are read as <unk>: {shown}{', ...' if len(unseen) > 5 else ''}"
            )
    held_out = {
        split: evaluation_rows(ids, config.batch_size, config.seq_len)
        for split, ids in streams.items()
        if split != "train" and len(ids) > 1
    }
    rows = training_rows(streams["train"], config.batch_size, config.seq_len)
    return Data(vocabulary, streams, rows, held_out, digest_of(splits))


def load_shards(config: Config) -> Data:
    """A text in shards, which stays on the disk but for what is held out of it, at its end."""
    shards = Shards(Path(config.data).expanduser())
    total = min(len(shards), config.max_chars or len(shards))
    held_out, end = {}, total
    streams: dict[str, np.ndarray | range] = {}
    for split in ("test", "validation"):
        count = min(round(total * getattr(config, f"{split}_fraction")), MOST_HELD_OUT)
        if count > 1:
            ids = shards.read(end - count, end)
            held_out[split] = evaluation_rows(ids, config.batch_size, config.seq_len)
            streams[split] = ids
            end -= count
    windows = Windows(shards, end, config.batch_size, config.seq_len)
    windows.check()
    return Data(
        shards.vocabulary, {"train": range(end), **streams}, windows, held_out, shards.digest
    )


class Baseline(NamedTuple):
    units: dict[str, float]  # loss and bits per character on the validation text; {} for none
    text: str  # to stand behind the model's own number


def ngram_baseline(config: Config, data: Data) -> Baseline:
    """The n-gram model of the training text, on the validation text."""
    if isinstance(data.rows, Windows) or not config.ngram_order:
        return Baseline({}, "")
    train, validation = (np.asarray(data.streams[split]) for split in ("train", "validation"))
    if len(validation) < 2:
        return Baseline({}, "")
    order = config.ngram_order
    loss = witten_bell(train, validation, len(data.vocabulary), order)
    print(f"baseline on validation: {shown(loss)} ({order}-gram, interpolated Witten-Bell)")
    return Baseline(units(loss), f"   (validation {order}-gram: {shown(loss)})")


def units(loss: float) -> dict[str, float]:
    """A loss in nats per character, and in bits."""
    return {"loss": loss, "bits_per_char": loss / math.log(2)}


def shown(loss: float) -> str:
    return f"{loss:.4f} nats = {loss / math.log(2):.4f} bits/char"
