"""Tokenises a text that is larger than memory, once, into a folder that `char_lm --data` reads.

    python -m experiments.shard_text --data=PATH --out=FOLDER
    python -m experiments.char_lm --data=FOLDER

reads the files of a path (.gz too, a folder, a glob) twice, first for the characters that occur, and writes their
numbers, with a manifest at the end. `--check` reads a folder again and compares every sum. Training reads
from the folder what an update needs, and holds no more in memory.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.common import cli
from seqjax.data.shards import SHARD_TOKENS, Shards, write_shards
from seqjax.data.text import stream_text
from seqjax.errors import InputError, check_positive

SECONDS = 10  # between lines of progress


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = cli.option("", "a path to UTF-8 text files: a file, a folder, a glob")
    out: str = cli.option("", "the folder of shards, new or to be checked")
    shard_tokens: int = cli.option(SHARD_TOKENS, "characters in each file")
    check: bool = cli.option(False, "compare a folder that is there with its sums")

    def __post_init__(self) -> None:
        check_positive("--shard_tokens", self.shard_tokens)
        if not self.out or bool(self.data) == self.check:
            raise InputError("give --data=PATH --out=FOLDER, or --out=FOLDER --check.")


def run(config: Config) -> None:
    """Writes the folder, or checks it."""
    folder = Path(config.out).expanduser()
    if config.check:
        shards = Shards(folder)
        shards.check()
        print(f"{folder}: {len(shards):,} characters, every sum is right")
        return
    start = time.monotonic()
    passes = iter(("finding the characters", "writing"))

    def text() -> Iterator[str]:
        doing, done, said = next(passes), 0, time.monotonic()
        for piece in stream_text(config.data, leave_out=folder):
            done += len(piece)
            if time.monotonic() - said > SECONDS:
                said = time.monotonic()
                print(f"{doing}: {done:,} characters", flush=True)
            yield piece

    shards = write_shards(text, folder, shard_tokens=config.shard_tokens)
    seconds = time.monotonic() - start
    print(
        f"{folder}: {len(shards):,} characters of {len(shards.vocabulary)} kinds, {seconds:.0f} s"
    )


if __name__ == "__main__":
    cli.run(run, Config)
