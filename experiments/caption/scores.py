"""How good captions are: the share that is true, of scenes; BLEU by sacreBLEU, of other images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU

from seqjax.tasks.scenes import Scene, caption_distribution


def truth(scenes: Sequence[Scene], captions: Sequence[str]) -> float:
    """The share of captions that are true of their scene: those that could be drawn for it."""
    right = [
        caption in caption_distribution(scene)
        for scene, caption in zip(scenes, captions, strict=True)
    ]
    return float(np.mean(right))


def scores_of(references: Sequence[Sequence[str]], captions: Sequence[str]) -> dict[str, float]:
    """BLEU-1 to BLEU-4 from 0 to 100, captions being words already, with all references of an image."""
    most = max(map(len, references))
    streams: Any = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    found = {}
    for order in range(1, 5):
        metric = BLEU(tokenize="none", max_ngram_order=order, force=True)
        found[f"bleu{order}"] = metric.corpus_score(list(captions), streams).score
    return found
