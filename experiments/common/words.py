"""Words as numbers, from the training sentences alone."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

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
