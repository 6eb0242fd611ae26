"""Words as numbers, from the training sentences alone."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from seqjax.data.vectors import load_vectors

UNKNOWN = "<unk>"


def frequent(items: Iterable[str], *, min_count: int = 1, most: int = 0) -> list[str]:
    """`<unk>`, and then what occurs at least so often, by falling frequency."""
    counts = Counter(items)
    counts.pop(UNKNOWN, None)
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    kept = [item for item in ranked if counts[item] >= min_count]
    return [UNKNOWN, *(kept[: most - 1] if most else kept)]


def places(names: Sequence[str]) -> dict[str, int]:
    """Each name's place."""
    return {name: place for place, name in enumerate(names)}


def ids(words: Sequence[str], table: dict[str, int]) -> np.ndarray:
    """The place of each word, 0 for one that has none: int32 `[T]`."""
    return np.fromiter((table.get(word, 0) for word in words), np.int32, len(words))


def with_vectors(path: str, counted: Sequence[str], seen: Iterable[str]) -> list[str]:
    """The words of training, and of all words seen those that a file of vectors has beside."""
    others = sorted(set(seen) - set(counted))
    known = load_vectors(path, [*counted, *others]).known[len(counted) :]
    return [*counted, *(word for word, has in zip(others, known, strict=True) if has)]


def first_vectors(path: str, words: Sequence[str], *, seed: int) -> np.ndarray:
    """The vectors `[V, E]` float32 that a file has; the others are drawn, as large on the average."""
    values, known = load_vectors(path, words)
    drawn = np.random.default_rng(seed).normal(size=values.shape) * values[known].std()
    return np.where(known[:, None], values, drawn).astype(np.float32)
